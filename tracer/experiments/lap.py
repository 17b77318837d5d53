"""One side of the speed comparison, in a process of its own: trains step by step, in turns with the other side."""

from __future__ import annotations

import dataclasses
import os
import random
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, set_seed
from transformers.trainer_utils import SaveStrategy
from trl import GRPOTrainer

from tracer.config import Config
from tracer.stored import Stored
from tracer.training.stage1 import STAGE
from tracer.training.start import load_start
from tracer.training.trl.timed import now, timed
from tracer.training.trl.trainer import build, trainer_class

CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
OPERATORS = 12


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a side does: take ``steps`` steps on a draw of the trajectories' states."""

    side: str
    """``ours``, the trainer of stage 1; or ``trl``, a bare ``trl.GRPOTrainer`` of the same model and arguments."""
    config: Config
    start: Path
    trajectories: Path
    out: Path
    steps: int


def run(job: Job, turns: Connection, log: Path) -> None:
    """Take a job's steps, each when something comes in, and a last one under the profiler; the body of a process."""
    with log.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    config = job.config
    stage = STAGE.options(config).model_copy(update={"steps": job.steps + 1, "log_samples": 0})
    objective = dataclasses.replace(STAGE.objective(config), options=stage)
    set_seed(config.seed)
    planner = load_start(config, stage, job.start)
    states = Stored(job.trajectories, "train", config.planner.horizon)
    # A pass over every state would outlast the measurement: both sides take the same draw of them instead.
    order = list(range(len(states)))
    random.Random(config.seed).shuffle(order)
    states = states.taken(order[: stage.groups * stage.steps])
    kind = timed(trainer_class(planner.model, stage) if job.side == "ours" else GRPOTrainer)
    trainer = build(config, objective, planner, states, job.out, kind=kind)
    trainer.args.save_strategy = SaveStrategy.NO
    trainer.add_callback(Laps(trainer, turns, last=job.steps))
    trainer.train()


class Laps(TrainerCallback):
    """Holds every step until it is this side's turn, and answers with what the step took."""

    def __init__(self, trainer: Any, turns: Connection, last: int):
        self.trainer = trainer
        self.turns = turns
        self.last = last
        self._begun = 0.0
        self._profiler: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for this side's turn."""
        self.turns.recv()
        for counts in (self.trainer.clock, self.trainer.tokens):
            for name in counts:
                counts[name] = 0
        reset_peak()
        if state.global_step == self.last:
            self._profiler = torch.profiler.profile()
            self._profiler.__enter__()
        self._begun = now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report what the step took."""
        total = now() - self._begun
        lap: dict[str, Any] = {"seconds": {"step": total, **self.trainer.clock}, "tokens": dict(self.trainer.tokens)}
        lap["seconds"]["update"] = total - sum(self.trainer.clock.values())
        lap["peak_bytes"] = peak()
        lap["reward"] = self.trainer.last_reward()
        lap["logp_difference"] = self.trainer.logp_difference()
        if self._profiler is not None:
            self._profiler.__exit__(None, None, None)
            lap["operators"] = operators(self._profiler)
        self.turns.send(lap)


def operators(profiler: Any) -> list[dict[str, Any]]:
    """The operators that a step spends most of its time in, with their share of it."""
    gpu = torch.cuda.is_available()
    name = "self_device_time_total" if gpu else "self_cpu_time_total"
    found = {event.key: float(getattr(event, name)) for event in profiler.key_averages()}
    total = sum(found.values()) or 1.0
    most = sorted(found.items(), key=lambda item: -item[1])[:OPERATORS]
    return [{"name": key, "share": round(spent / total, 4)} for key, spent in most]


def reset_peak() -> None:
    """Start measuring the peak of memory again."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif CLEAR.exists():
        CLEAR.write_text("5", encoding="utf-8")  # Linux: sets the high-water mark to what is held now


def peak() -> int:
    """The most memory (bytes) that was held since ``reset_peak``: of the GPU, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if STATUS.is_file():
        line = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
