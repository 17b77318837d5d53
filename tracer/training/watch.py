"""Watches a training run: a heartbeat for who waits for it, early warnings for who reads its log, and its end when it
can no longer come to anything.
"""

from __future__ import annotations

import logging
import math
import resource
from typing import Any

import torch
from transformers import TrainerCallback

from tracer.training import health, processes
from tracer.training.errors import CollapsedReward, NotANumber, nan_advice
from tracer.training.heartbeat import Heartbeat
from tracer.training.settings import GrpoConfig

log = logging.getLogger(__name__)
TOLD = {
    "reward": "reward",
    "dead_groups": "dead groups",
    "unparsable": "unparsable",
    "entropy": "entropy",
    "kl": "KL",
    "step_time": "seconds",
    "tokens_per_second": "tokens a second",
}
"""What the log says of a step; everything else is in metrics.jsonl."""


def memory() -> int:
    """The most bytes that this process held: of its GPU, or of the machine where it has none."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Watch(TrainerCallback):
    """The Trainer's callback: heartbeats, early warnings, and an end for NaN, for a collapsed reward, and for a stage
    that has sampled its tokens."""

    def __init__(self, name: str, stage: GrpoConfig, heartbeat: Heartbeat):
        self.name = name
        self.stage = stage
        self.heartbeat = heartbeat
        self._warned: set[str] = set()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report that rollouts are being sampled."""
        self.heartbeat.beat("rollouts", state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report that the weights were updated."""
        self.heartbeat.beat("updated", state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report that a checkpoint was written."""
        self.heartbeat.beat("checkpoint written", state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Look at a step's metrics; raises what ends the training."""
        # The Trainer logs before it saves: what is raised here leaves the last good checkpoint as it was.
        if logs is None or "reward" not in logs:
            return
        self._finite(state.global_step, logs)
        if processes.main():
            told = {name: float(logs[name]) for name in ("loss", *TOLD) if name in logs}
            self.heartbeat.metrics = {**told, "memory_bytes": memory()}
            shown = ", ".join(f"{text} {told[name]:.3f}" for name, text in TOLD.items() if name in told)
            log.info("step %d of %d: %s", state.global_step, self.stage.steps, shown)
        history = [entry for entry in state.log_history if "reward" in entry]
        self._warn(history)
        if self.stage.tokens is not None and health.sampled(history, self.stage) >= self.stage.tokens:
            control.should_training_stop = True
        why = health.collapse(history, self.stage.patience)
        if why:
            raise CollapsedReward(
                f"step {state.global_step}: {why}. Lower {self.name}.learning_rate ({self.stage.learning_rate:g}), "
                f"raise {self.name}.kl ({self.stage.kl:g}) to hold the planner to where it started, or raise "
                f"{self.name}.temperature ({self.stage.temperature:g}) so that forecasts differ; "
                f"{self.name}.patience=0 lets it go on all the same"
            )

    def _finite(self, step: int, logs: dict[str, Any]) -> None:
        for name in ("loss", "grad_norm"):
            value = logs.get(name)
            if value is not None and not math.isfinite(float(value)):
                raise NotANumber(nan_advice(self.name, self.stage, f"step {step}: {name} is {value}"))

    def _warn(self, history: list[dict[str, Any]]) -> None:
        now = health.present(history)
        for sign in now:
            if sign.name not in self._warned and processes.main():
                log.warning("early warning at step %d, %s: %s", sign.step, sign.name, sign.message)
        self._warned = {sign.name for sign in now}
