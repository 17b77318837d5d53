"""How a training run ends when it cannot go on: an error with a name, and a message that says what to change."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracer.config import Config
from tracer.training.settings import GrpoConfig


class TrainingStopped(RuntimeError):
    """Training cannot go on as it is configured, or on this machine as it is."""


class NotANumber(TrainingStopped):
    """The loss or the gradient is no longer finite."""


class CollapsedReward(TrainingStopped):
    """Every group has been dead for a long time, at less than the planner began with, or nothing parses any more."""


class OutOfMemory(TrainingStopped):
    """The memory of the GPU, or of the machine, does not hold a micro-batch."""


class DiskFull(TrainingStopped):
    """The disk, or a quota on it, does not hold the checkpoints."""


class Evicted(TrainingStopped):
    """The machine is wanted back: nothing is wrong, and the same command continues."""


AGAIN = os.EX_TEMPFAIL
"""The exit code that says so: 75."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What safetensors (through Rust) and torch.save (through its own writer) say of the same; neither raises OSError.
FULL_TEXTS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "PytorchStreamWriter failed writing",
    ". unexpected pos",
    "iostream error",
)
# What torch.multinomial says when the weights it samples from have become infinite or NaN.
NAN_TEXTS = ("probability tensor contains either",)
MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def explained(config: Config, stage: str, out: Path) -> Iterator[None]:
    """Turn a full disk and an exhausted memory, however a library reports them, into errors that name the fix."""
    try:
        yield
    except TrainingStopped:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise DiskFull(disk_advice(config, stage, out)) from error
        if is_out_of_memory(error):
            raise OutOfMemory(memory_advice(config, stage)) from error
        if isinstance(error, RuntimeError) and any(text in str(error) for text in NAN_TEXTS):
            what = "the planner gives no finite probabilities any more"
            raise NotANumber(nan_advice(stage, getattr(config, stage), what)) from error
        raise


def is_disk_full(error: Exception) -> bool:
    """Whether an error means that the disk is full."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return any(text in str(error) for text in FULL_TEXTS)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory is exhausted."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in MEMORY_TEXTS)


def nan_advice(name: str, stage: GrpoConfig, what: str) -> str:
    """What to do about a loss or gradient that is not a number."""
    precision = f", or set {name}.bf16 to false" if stage.bf16 else ""
    return (
        f"{what}: the weights are lost from here on. Lower {name}.learning_rate ({stage.learning_rate:g}), lengthen "
        f"{name}.warmup ({stage.warmup}){precision}; the same settings would come to the same step again"
    )


def disk_advice(config: Config, name: str, out: Path) -> str:
    """What to do about a full disk."""
    stage: GrpoConfig = getattr(config, name)
    return (
        f"the disk under {out} is full, or a quota on it is reached. Free space there, or keep fewer checkpoints: "
        f"{name}.keep_checkpoints is {stage.keep_checkpoints}, one is written every {stage.checkpoint_every} steps; "
        f"folders under .stale are results of other configurations and can go. The last whole checkpoint is intact: "
        f"the same command continues from it"
    )


def memory_advice(config: Config, name: str) -> str:
    """What to do about exhausted memory, in the order to try it."""
    stage: GrpoConfig = getattr(config, name)
    micro = stage.groups // stage.accumulation
    return (
        f"out of memory: a micro-batch is {micro} groups of {stage.group_size} forecasts of up to "
        f"{config.planner.max_new_tokens} tokens behind prompts of up to {config.planner.max_prompt_tokens}. "
        f"In this order: {'; '.join(memory_fixes(config, name))}"
    )


def memory_fixes(config: Config, name: str) -> list[str]:
    """What makes a stage take less memory, in the order to try it."""
    stage: GrpoConfig = getattr(config, name)
    fixes = []
    finer = next((n for n in range(stage.accumulation + 1, stage.groups + 1) if stage.groups % n == 0), None)
    if finer is not None:
        fixes.append(f"set {name}.accumulation to {finer} (the same step in smaller pieces)")
    if not stage.gradient_checkpointing and config.launch.strategy != "fsdp2":
        fixes.append(f"set {name}.gradient_checkpointing to true")
    if not stage.bf16:
        fixes.append(f"set {name}.bf16 to true")
    if stage.lora is None:
        fixes.append(f"train an adapter ({name}.lora)")
    if stage.rollouts == "vllm_colocate":
        fixes.append(f"lower launch.vllm_memory ({config.launch.vllm_memory:g})")
    fixes.append(f"lower planner.max_new_tokens ({config.planner.max_new_tokens})")
    fixes.append(f"lower {name}.group_size ({stage.group_size})")
    return fixes
