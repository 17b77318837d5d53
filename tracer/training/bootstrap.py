"""Bootstrap: the tiny base planner, by supervised learning on demonstrations.

The paper starts from a pretrained Qwen3-VL; on a laptop this takes its place. It is trained once, on pages the RL
stages do not train on (and a few episodes of those they do), and its result is versioned beside the data.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Sampler

from tracer.config import Config
from tracer.forecast import reference
from tracer.lineage import run_step
from tracer.planner.base import PlannerSettings
from tracer.planner.prompt import answer, messages, prompt
from tracer.planner.tiny import END, build_model, build_processor
from tracer.planner.transformers import TransformersPlanner, picture
from tracer.sources import jsonl
from tracer.training.resume import last_checkpoint
from tracer.trajectory import State, Trajectory, state_at

MICRO_BATCHES = 4
IGNORED = -100  # the label that PyTorch's cross-entropy skips


def train(config: Config, episodes: Path, out: Path) -> dict[str, Any]:
    """Train a base planner on raw episodes (splits ``train`` and ``validation``) into ``out``; return its lineage."""
    return run_step(
        "bootstrap",
        config={"planner": config.planner.model_dump(), "bootstrap": config.bootstrap.model_dump()},
        inputs={"episodes": episodes},
        out=out,
        module=__name__,
        body=lambda folder: _train(config, episodes, folder),
        seed=config.seed,
    )


def _train(config: Config, episodes: Path, out: Path) -> Mapping[str, Any]:
    from transformers import Trainer, TrainingArguments, set_seed

    settings = PlannerSettings.of(config.planner)
    found = [item for item in jsonl.read(episodes) if isinstance(item, Trajectory)]
    samples = {
        split: [
            sample for trajectory in found if trajectory.split == split for sample in examples(trajectory, settings)
        ]
        for split in ("train", "validation")
    }
    set_seed(config.seed)
    processor = build_processor((f"{s.prompt}{s.answer}" for s in samples["train"]), config.bootstrap.vocabulary)
    model = build_model(processor, config.bootstrap.hidden, config.bootstrap.layers)
    planner = TransformersPlanner(model, processor, settings, name="base")
    options = config.bootstrap
    arguments = TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch // MICRO_BATCHES,
        gradient_accumulation_steps=MICRO_BATCHES,
        learning_rate=options.learning_rate,
        weight_decay=0.05,
        adam_beta2=0.95,
        lr_scheduler_type="cosine",
        warmup_steps=options.warmup,
        save_steps=options.checkpoint_every,
        save_total_limit=1,
        logging_steps=25,
        bf16=options.bf16,
        seed=config.seed,
        report_to=[],
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )

    class SortedTrainer(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> SortedBatches:
            return SortedBatches(self.train_dataset, options.batch, config.seed)

    trainer = SortedTrainer(
        model=model, args=arguments, train_dataset=Samples(samples["train"], planner), data_collator=Collator(planner)
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(out / "checkpoints"))
    planner.model.eval()
    planner.save(out / "model")
    return {"train_states": len(samples["train"]), **first_step_accuracy(planner, samples["validation"], config.seed)}


class Example:
    """One state and the answer a planner should give in it."""

    def __init__(self, task: str, state: State, settings: PlannerSettings, forecast: Any):
        self.task = task
        self.state = state
        self.prompt = prompt(state, settings)
        self.answer = answer(forecast, state, settings)


def examples(trajectory: Trajectory, settings: PlannerSettings) -> list[Example]:
    """One example a step."""
    return [
        Example(trajectory.task, state_at(trajectory, index), settings, reference(trajectory, index, settings.horizon))
        for index in range(len(trajectory.steps))
    ]


class Samples(Dataset):
    """Encoded examples: input_ids and labels (prompt, image tokens included, then answer), and the state's picture."""

    def __init__(self, samples: Sequence[Example], planner: TransformersPlanner):
        processor, encode = planner.processor, planner.tokenizer
        size = processor.image_processor.size
        patches = (size["height"] // processor.patch_size) * (size["width"] // processor.patch_size)
        asked = [
            processor.apply_chat_template(
                messages(sample.state, planner.settings), add_generation_prompt=True, tokenize=False
            ).replace(processor.image_token, processor.image_token * patches)
            for sample in samples
        ]
        self.prompts = encode(asked, add_special_tokens=False)["input_ids"]
        self.answers = encode([sample.answer + END for sample in samples], add_special_tokens=False)["input_ids"]
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        asked, answered = self.prompts[index], self.answers[index]
        labels = [IGNORED] * len(asked) + answered
        return {"input_ids": asked + answered, "labels": labels, "state": self.samples[index].state}


class SortedBatches(Sampler[int]):
    """Random batches, each sorted by length, so that its micro-batches need little padding.

    Whole batches of one length, which pad less still, are batches of one or two pages, and learning swings with them.
    """

    def __init__(self, samples: Samples, batch: int, seed: int):
        self.lengths = [len(a) + len(b) for a, b in zip(samples.prompts, samples.answers, strict=True)]
        self.batch = batch
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths) // self.batch * self.batch

    def __iter__(self) -> Iterator[int]:
        order = random.Random(f"{self.seed}/{self.epoch}").sample(range(len(self.lengths)), len(self))
        for start in range(0, len(order), self.batch):
            yield from sorted(order[start : start + self.batch], key=lambda index: self.lengths[index])


class Collator:
    """Batches padded on the right; only the answer's tokens are learned."""

    def __init__(self, planner: TransformersPlanner):
        self.planner = planner

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        pixels = self.planner.processor.image_processor([picture(row["state"]) for row in rows], return_tensors="pt")

        def padded(name: str, value: int) -> torch.Tensor:
            return pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=value)

        ids = padded("input_ids", self.planner.tokenizer.pad_token_id)
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
            "labels": padded("labels", IGNORED),
            "pixel_values": pixels["pixel_values"],
        }


def first_step_accuracy(planner: TransformersPlanner, samples: Sequence[Example], seed: int) -> dict[str, float]:
    """The share of states whose greedy first line is the demonstrator's, over all and per task (400 states at most)."""
    drawn = random.Random(seed).sample(list(samples), min(400, len(samples)))
    answers = planner.answer([sample.state for sample in drawn])
    right: dict[str, list[bool]] = {}
    for sample, text in zip(drawn, answers, strict=True):
        correct = text.split("\n")[0].strip() == sample.answer.split("\n")[0]
        right.setdefault(sample.task, []).append(correct)
        right.setdefault("all", []).append(correct)
    return {f"first_step/{task}": round(sum(hits) / len(hits), 4) for task, hits in sorted(right.items())}
