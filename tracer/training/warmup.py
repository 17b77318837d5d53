"""Teaching a pretrained language model the grammar, by supervised learning on demonstrations.

What bootstrap.py does for the tiny planner, for one that already exists: RL chooses among what a planner samples, and
a model that never samples a forecast leaves it nothing to choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tracer.config import Config
from tracer.planner.transformers import TransformersPlanner
from tracer.sources import jsonl
from tracer.training.bootstrap import IGNORED, Example, examples, first_step_accuracy
from tracer.training.resume import last_checkpoint
from tracer.trajectory import Trajectory


def teach(config: Config, planner: TransformersPlanner, episodes: Path, checkpoints: Path) -> dict[str, float]:
    """Train the planner in place on the raw episodes' split ``train``; return its accuracy on ``validation``."""
    from transformers import Trainer, TrainingArguments, set_seed

    found = [item for item in jsonl.read(episodes) if isinstance(item, Trajectory)]
    samples = {
        split: [one for item in found if item.split == split for one in examples(item, planner.settings)]
        for split in ("train", "validation")
    }
    options = config.bootstrap
    set_seed(config.seed)
    trainer = Trainer(
        model=planner.model,
        args=TrainingArguments(
            output_dir=str(checkpoints),
            max_steps=options.steps,
            per_device_train_batch_size=options.batch,
            learning_rate=options.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=options.warmup,
            save_steps=options.checkpoint_every,
            save_total_limit=1,
            logging_steps=25,
            seed=config.seed,
            bf16=torch.cuda.is_available(),
            report_to=[],
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
            disable_tqdm=True,
        ),
        train_dataset=samples["train"],
        data_collator=TextCollator(planner),
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    planner.model.eval()
    if not samples["validation"]:
        return {}
    return first_step_accuracy(planner, samples["validation"], config.seed)


class TextCollator:
    """Batches of prompt and answer without pictures, padded on the right; only the answer's tokens are learned."""

    def __init__(self, planner: TransformersPlanner):
        self.planner = planner

    def __call__(self, samples: Sequence[Example]) -> dict[str, torch.Tensor]:
        tokenizer = self.planner.tokenizer
        rows = []
        for sample in samples:
            asked = self.planner.encode([sample.state])["input_ids"][0].tolist()
            said = tokenizer(sample.answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
            rows.append((asked, said))
        width = max(len(asked) + len(said) for asked, said in rows)
        ids = torch.full((len(rows), width), tokenizer.pad_token_id)
        labels, mask = torch.full((len(rows), width), IGNORED), torch.zeros(len(rows), width, dtype=torch.long)
        for row, (asked, said) in enumerate(rows):
            end = len(asked) + len(said)
            ids[row, :end], mask[row, :end] = torch.tensor(asked + said), 1
            labels[row, len(asked) : end] = torch.tensor(said)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
