"""``trl.GRPOTrainer`` that continues exactly where its last checkpoint was.

A checkpoint holds weights, optimizer, schedule, the random states of Python, NumPy and torch, and the history. What it
lacks is added here, and in named_weights.py. There is no rollout buffer to save: a generation batch is one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import Sampler
from trl import GRPOTrainer

from tracer.training.trl.named_weights import NamedWeights
from tracer.training.trl.vllm import Generation, ours


class StepSampler(Sampler[int]):
    """TRL's sampler with its shuffling a function of the step, so that a new process finds the same order."""

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
    """GRPO with exact resumption, also of what vLLM samples."""

    def __init__(self, *arguments: Any, **options: Any):
        with ours():
            super().__init__(*arguments, **options)
        if isinstance(generation := getattr(self, "vllm_generation", None), Generation):
            generation.seed, generation.step = self.args.seed, lambda: self.state.global_step

    def _get_train_sampler(self, dataset: Any = None) -> StepSampler:
        # TRL shuffles each epoch from a generator whose state no checkpoint holds: a resumed run would begin again with
        # the first epoch's order (accelerate#3996 is the same fault in its data loaders). And after the last step
        # nothing may be left: resumed there, the Trainer takes one more (no issue found).
        return StepSampler(super()._get_train_sampler(dataset), lambda: self.state.global_step, self.args.max_steps)
