"""Supervised learning on demonstrations: how a planner learns the grammar before RL.

RL chooses among what a planner samples, and one that never samples a forecast leaves it nothing to choose from.
``bootstrap`` builds the tiny planner this way, ``tracer.training.smollm2`` teaches a pretrained language model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Subset
from transformers import Trainer, TrainingArguments

from tracer.config import Config
from tracer.examples import Example, examples
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import answer, messages, prompt
from tracer.planner.transformers import TransformersPlanner, picture
from tracer.settings import ConfigError
from tracer.sources import jsonl
from tracer.training.checkpoints import Checkpoints, last_checkpoint
from tracer.training.trl.named_weights import NamedWeights
from tracer.trajectory import Trajectory

MICRO_BATCHES = 4
IGNORED = -100  # the label that PyTorch's cross-entropy skips


class Lesson:
    """An example as text: the prompt, and the answer that a planner should give."""

    def __init__(self, example: Example, settings: PlannerSettings):
        self.task = example.task
        self.state = example.state
        self.prompt = prompt(example.state, settings)
        self.answer = answer(example.reference, example.state, settings)


def lessons(episodes: Path, settings: PlannerSettings) -> dict[str, list[Lesson]]:
    """One lesson per step of raw episodes, by split."""
    found: dict[str, list[Lesson]] = {"train": [], "validation": []}
    readable = (item for item in jsonl.read(episodes) if isinstance(item, Trajectory) and item.split in found)
    for example in examples(readable, settings.horizon):
        found[example.split].append(Lesson(example, settings))
    return found


def fit(config: Config, planner: TransformersPlanner, samples: Sequence[Lesson], checkpoints: Path) -> None:
    """Train the planner in place for ``config.bootstrap.steps``, resuming from the last checkpoint."""
    options = config.bootstrap
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch // MICRO_BATCHES,
        gradient_accumulation_steps=MICRO_BATCHES,
        learning_rate=options.learning_rate,
        weight_decay=0.05,
        adam_beta2=0.95,
        lr_scheduler_type="cosine",
        warmup_steps=options.warmup,
        save_steps=options.checkpoint_every,
        logging_steps=25,
        bf16=options.bf16,
        seed=config.seed,
        train_sampling_strategy="sequential",
        report_to=[],
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )

    encoded = Samples(samples, planner)
    trainer = SupervisedTrainer(
        model=planner.model,
        args=arguments,
        train_dataset=Subset(encoded, sorted_batches(encoded, options.batch, options.steps, config.seed)),
        data_collator=Collator(planner),
        callbacks=[Checkpoints(checkpoints, keep=1)],
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    planner.model.eval()


def first_step_accuracy(planner: TransformersPlanner, samples: Sequence[Lesson], seed: int) -> dict[str, float]:
    """The share of states whose greedy first line is the demonstrator's, over all and per task (400 states at most)."""
    drawn = random.Random(seed).sample(list(samples), min(400, len(samples)))
    answers = planner.answer([sample.state for sample in drawn])
    right: dict[str, list[bool]] = {}
    for sample, text in zip(drawn, answers, strict=True):
        correct = text.split("\n")[0].strip() == sample.answer.split("\n")[0]
        right.setdefault(sample.task, []).append(correct)
        right.setdefault("all", []).append(correct)
    return {f"first_step/{task}": round(sum(hits) / len(hits), 4) for task, hits in sorted(right.items())}


class SupervisedTrainer(NamedWeights, Trainer):
    """transformers' own, resumable."""


class Samples(Dataset):
    """Encoded examples: input_ids and labels (prompt, image tokens included, then answer), and the state."""

    def __init__(self, samples: Sequence[Lesson], planner: TransformersPlanner):
        processor, tokenizer, settings = planner.processor, planner.tokenizer, planner.settings
        asked = [
            processor.apply_chat_template(messages(sample.state, settings), add_generation_prompt=True, tokenize=False)
            for sample in samples
        ]
        if settings.image:  # what the processor does to a text, without reading every picture for it
            size = processor.image_processor.size
            patches = (size["height"] // processor.patch_size) * (size["width"] // processor.patch_size)
            asked = [text.replace(processor.image_token, processor.image_token * patches) for text in asked]
        answers = [sample.answer + tokenizer.eos_token for sample in samples]
        self.prompts = tokenizer(asked, add_special_tokens=False)["input_ids"]
        self.answers = tokenizer(answers, add_special_tokens=False)["input_ids"]
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        asked, answered = self.prompts[index], self.answers[index]
        labels = [IGNORED] * len(asked) + answered
        return {"input_ids": asked + answered, "labels": labels, "state": self.samples[index].state}


def sorted_batches(samples: Samples, batch: int, steps: int, seed: int) -> list[int]:
    """The samples' order over the whole training: random batches, each sorted by length to need little padding.

    Whole batches of one length, which pad less still, are batches of one or two pages, and learning swings with them.
    Raises ``ConfigError`` if the samples cannot fill a batch.
    """
    lengths = [len(a) + len(b) for a, b in zip(samples.prompts, samples.answers, strict=True)]
    if len(lengths) < batch:
        raise ConfigError(f"{len(lengths)} states cannot fill a batch of {batch}; lower bootstrap.batch")
    order: list[int] = []
    epoch = 0
    while len(order) < steps * batch:
        drawn = random.Random(f"{seed}/{epoch}").sample(range(len(lengths)), len(lengths) // batch * batch)
        for start in range(0, len(drawn), batch):
            order += sorted(drawn[start : start + batch], key=lambda index: lengths[index])
        epoch += 1
    return order[: steps * batch]


class Collator:
    """Batches padded on the right; only the answer's tokens are learned."""

    def __init__(self, planner: TransformersPlanner):
        self.planner = planner

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        def padded(name: str, value: int) -> torch.Tensor:
            return pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=value)

        ids = padded("input_ids", self.planner.tokenizer.pad_token_id)
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        batch = {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
            "labels": padded("labels", IGNORED),
        }
        if self.planner.settings.image:
            images = [picture(row["state"]) for row in rows]
            batch["pixel_values"] = self.planner.processor.image_processor(images, return_tensors="pt")["pixel_values"]
        return batch
