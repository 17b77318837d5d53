"""Supervised learning on demonstrations: how a planner learns the grammar before RL.

RL chooses among what a planner samples, and one that never samples a forecast leaves it nothing to choose from.
``bootstrap`` builds the tiny planner this way, ``tracer.training.smollm2`` teaches a pretrained language model.
"""

from __future__ import annotations

import itertools
import logging
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from tracer import dataset
from tracer.config import Config
from tracer.examples import Example, examples
from tracer.grammars.pointing import MAX_SPANS
from tracer.planner.escape import control_tokens
from tracer.planner.prompt import answer, chat
from tracer.planner.transformers import TransformersPlanner, picture
from tracer.settings import ConfigError
from tracer.sources import jsonl
from tracer.training.checkpoints import Checkpoints, last_checkpoint
from tracer.training.eviction import Eviction
from tracer.training.settings import BootstrapConfig
from tracer.training.trl.named_weights import NamedWeights
from tracer.trajectory import Trajectory

log = logging.getLogger(__name__)
MICRO_BATCHES = 4
IGNORED = -100  # the label that PyTorch's cross-entropy skips


def demonstrations(episodes: Path, horizon: int) -> dict[str, list[Example]]:
    """One example per step of raw episodes, or of a folder of shards, by split."""
    found: dict[str, list[Example]] = {"train": [], "validation": []}
    items = dataset.read(episodes) if any(episodes.glob("*.parquet")) else jsonl.read(episodes)
    readable = (item for item in items if isinstance(item, Trajectory) and item.split in found)
    for example in examples(readable, horizon):
        found[example.split].append(example)
    return found


def fit(config: Config, planner: TransformersPlanner, samples: Sequence[Example], checkpoints: Path) -> None:
    """Train the planner in place for ``config.bootstrap.steps``, resuming from the last checkpoint.

    Ends as a stage does when it is asked to (tracer/training/eviction.py).
    """
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
        logging_steps=max(1, min(25, options.steps // 10)),
        bf16=options.bf16,
        seed=config.seed,
        train_sampling_strategy="sequential",
        report_to=[],
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )

    lessons, eviction = Lessons(samples, planner, options, config.seed), Eviction()
    trainer = SupervisedTrainer(
        model=planner.model,
        args=arguments,
        train_dataset=lessons,
        data_collator=partial(collate, planner),
        callbacks=[Checkpoints(checkpoints, keep=1), Said(), eviction],
    )
    trainer.remove_callback(PrinterCallback)
    with eviction.watched():
        trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    planner.model.eval()


def first_step_accuracy(planner: TransformersPlanner, samples: Sequence[Example], seed: int) -> dict[str, float]:
    """The share of states whose greedy first line is the demonstrator's, over all and per task (400 states at most)."""
    drawn = random.Random(seed).sample(list(samples), min(400, len(samples)))
    answers = planner.answer([sample.state for sample in drawn])
    right: dict[str, list[bool]] = {}
    for sample, text in zip(drawn, answers, strict=True):
        expected = answer(sample.reference, sample.state, planner.settings, control_tokens(planner.processor))
        correct = text.split("\n")[0].strip() == expected.split("\n")[0]
        right.setdefault(sample.task, []).append(correct)
        right.setdefault("all", []).append(correct)
    return {f"first_step/{task}": round(sum(hits) / len(hits), 4) for task, hits in sorted(right.items())}


class Said(TrainerCallback):
    """A line of log now and then: the step, the loss, and about how long it will take."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember when this process began, and after which step."""
        self.begun, self.first = time.monotonic(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Say it."""
        if logs and "loss" in logs:
            each = (time.monotonic() - self.begun) / max(1, state.global_step - self.first)
            left = timedelta(seconds=round(each * (state.max_steps - state.global_step)))
            log.info("step %d of %d: loss %.3f, %s left", state.global_step, state.max_steps, logs["loss"], left)


class SupervisedTrainer(NamedWeights, Trainer):
    """transformers' own, resumable."""


class Lessons(Dataset[dict[str, Any]]):
    """What is learned in which order: per lesson the tokens (the prompt with its image tokens, then the answer), labels
    for the answer alone, and the state. Raises ``ConfigError`` if the examples cannot fill a batch.

    In a share of the lessons the goal's spans are numbered at random, anew each time an example comes up, so that a
    number has to be looked up in the prompt.
    """

    def __init__(
        self, samples: Sequence[Example], planner: TransformersPlanner, options: BootstrapConfig, seed: int
    ) -> None:
        self.samples, self.tokenizer, self.options, self.seed = samples, planner.tokenizer, options, seed
        self.prompts = [chat(planner.processor, sample.state, planner.settings) for sample in samples]
        if planner.settings.image:  # what the processor does to a text, without reading every picture for it
            size, patch = planner.processor.image_processor.size, planner.processor.patch_size
            tokens = planner.processor.image_token * ((size["height"] // patch) * (size["width"] // patch))
            self.prompts = [text.replace(planner.processor.image_token, tokens) for text in self.prompts]
        control = control_tokens(planner.processor)
        self.answers = [
            answer(sample.reference, sample.state, planner.settings, control) + self.tokenizer.eos_token
            for sample in samples
        ]
        lengths = [len(ids) for ids in self._ids([a + b for a, b in zip(self.prompts, self.answers, strict=True)])]
        self.order = sorted_batches(lengths, options.batch, options.steps, seed)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> dict[str, Any]:
        index, draw = self.order[position], random.Random(f"{self.seed}/{position}")
        texts = [self.prompts[index], self.answers[index]]
        if draw.random() < self.options.renumbered:
            texts = renumbered(texts, draw)
        asked, answered = self._ids(texts)
        return {
            "input_ids": asked + answered,
            "labels": [IGNORED] * len(asked) + answered,
            "state": self.samples[index].state,
        }

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return list(self.tokenizer(texts, add_special_tokens=False)["input_ids"])


def renumbered(texts: Sequence[str], draw: random.Random) -> list[str]:
    """The texts of one example with the numbers of the goal's spans, ``$1`` to ``$9``, exchanged alike in all."""
    numbers = str.maketrans("123456789", "".join(draw.sample("123456789", MAX_SPANS)))
    return [re.sub(r"\$[1-9]", lambda found: found[0].translate(numbers), text) for text in texts]


def sorted_batches(lengths: Sequence[int], batch: int, steps: int, seed: int) -> list[int]:
    """The order of examples over the whole training: random batches, each sorted by length to need little padding.

    Whole batches of one length, which pad less still, are batches of one or two pages, and learning swings with them.
    Raises ``ConfigError`` if the examples cannot fill a batch.
    """
    if len(lengths) < batch:
        raise ConfigError(f"{len(lengths)} states cannot fill a batch of {batch}; lower bootstrap.batch")
    order: list[int] = []
    epochs = itertools.count()
    while len(order) < steps * batch:
        drawn = random.Random(f"{seed}/{next(epochs)}").sample(range(len(lengths)), len(lengths) // batch * batch)
        for start in range(0, len(drawn), batch):
            order += sorted(drawn[start : start + batch], key=lambda index: lengths[index])
    return order[: steps * batch]


def collate(planner: TransformersPlanner, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch (rows, tokens), padded on the right."""

    def padded(values: Iterable[Sequence[int]], padding: int) -> torch.Tensor:
        return pad_sequence(list(map(torch.tensor, values)), batch_first=True, padding_value=padding)

    batch = {
        "input_ids": padded((row["input_ids"] for row in rows), planner.tokenizer.pad_token_id),
        "attention_mask": padded(([1] * len(row["input_ids"]) for row in rows), 0),
        "labels": padded((row["labels"] for row in rows), IGNORED),
    }
    if planner.settings.image:
        images = [picture(row["state"]) for row in rows]
        batch["pixel_values"] = planner.processor.image_processor(images, return_tensors="pt")["pixel_values"]
    return batch
