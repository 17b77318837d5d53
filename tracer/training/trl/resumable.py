"""``trl.GRPOTrainer`` that can be killed at any moment and goes on exactly where its last checkpoint was.

A checkpoint holds weights, optimizer, schedule, the random states of Python, NumPy and torch, and the history. Three
things are added to what the libraries do:

- It is written under another name and renamed when it is whole and on the disk.
- The order of the prompts follows from the step. TRL shuffles again in every epoch from a generator that no checkpoint
  holds, so that a resumed run would take up the first epoch's order again.
- At the last step nothing is left to do. The Trainer would train one step more when it is resumed there.

There is no rollout buffer to save: a generation batch is one step, and a checkpoint within one is refused.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers.trainer_utils import rotate_checkpoints
from trl import GRPOTrainer

from tracer.planner.adapter import is_adapter
from tracer.training.checkpoints import WRITING
from tracer.training.trl.named_weights import NamedWeights
from tracer.training.trl.vllm import keep_base


class StepSampler(Sampler[int]):
    """TRL's sampler, its shuffling a function of the step: the same order as uninterrupted, whenever it is begun."""

    def __init__(self, plain: Any, step: Callable[[], int], steps: int):
        self.plain = plain
        self.step = step
        self.steps = steps

    def __iter__(self) -> Iterator[int]:
        done = self.step()
        if done >= self.steps:
            return
        generator = self.plain.generator.manual_seed(self.plain.seed)
        for _ in range(done // (self.plain.num_samples // self.plain.batch_size)):
            torch.randperm(self.plain.num_samples, generator=generator)
        yield from self.plain

    def __len__(self) -> int:
        return len(self.plain)


class ResumableTrainer(NamedWeights, GRPOTrainer):
    """GRPO with exact resumption and whole checkpoints."""

    _writing: Path | None = None

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        if self.use_vllm and is_adapter(self.model) and not self.is_fsdp_enabled:
            keep_base(self.vllm_generation)

    def _get_train_sampler(self, dataset: Any = None) -> StepSampler:
        return StepSampler(super()._get_train_sampler(dataset), lambda: self.state.global_step, self.args.max_steps)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._writing or super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        left = self._step % (self.args.steps_per_generation * self.num_iterations)
        if left:
            raise RuntimeError(
                f"step {self.state.global_step} ends within a generation batch ({left} of its pieces are used): a "
                f"checkpoint here would lose the rest; let a generation batch be one step"
            )
        folder = Path(super()._get_output_dir(trial))
        self._writing = folder / WRITING
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._writing = None
        self.accelerator.wait_for_everyone()  # each process writes its own random state
        if self.args.should_save:
            name = f"checkpoint-{self.state.global_step}"
            publish(folder / WRITING / name, folder / name)
            rotate_checkpoints(output_dir=str(folder), save_total_limit=self.args.save_total_limit)


def publish(written: Path, final: Path) -> None:
    """Give a folder its name once everything in it has reached the disk."""
    for path in [*written.rglob("*"), written]:
        _sync(path)
    if final.exists():
        shutil.rmtree(final)
    os.rename(written, final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
