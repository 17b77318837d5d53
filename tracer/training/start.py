"""The planner that a stage starts from: loaded to be trained, with the settings it was trained with."""

from __future__ import annotations

from pathlib import Path

import torch

from tracer.config import Config
from tracer.lineage.digest import LineageError
from tracer.planner.lora import model_folder
from tracer.planner.plan import PlannerSettings
from tracer.planner.transformers import TransformersPlanner
from tracer.training import processes
from tracer.training.settings import GrpoConfig


def load_start(config: Config, stage: GrpoConfig, start: Path) -> TransformersPlanner:
    """The planner in a folder, ready to train. Raises ``LineageError`` if its settings are not the configured ones."""
    return TransformersPlanner.load(
        start,
        settings_for(config, start),
        # An adapter adds to its base as that was saved; whole weights are updated by steps that bf16 rounds away.
        dtype="auto" if stage.lora else "float32",
        trainable=True,
        device="cpu" if processes.sharded() else None,
    )


def settings_for(config: Config, start: Path) -> PlannerSettings:
    """The planner's settings, which must be those it was trained with. Raises ``LineageError``."""
    wanted = PlannerSettings.of(config.planner)
    saved = PlannerSettings.load(model_folder(start))
    for name in ("grammar", "history", "image"):
        if getattr(saved, name) != getattr(wanted, name):
            raise LineageError(
                f"{start} was trained with {name}={getattr(saved, name)!r}, but planner.{name} is "
                f"{getattr(wanted, name)!r}; set planner.{name} to the base's, or bootstrap another base"
            )
    return wanted


def dtype_of(folder: Path) -> torch.dtype:
    """The type in which a folder's whole weights were saved; what is trained from them is saved in the same type."""
    from transformers import AutoConfig

    path = model_folder(folder)
    return (AutoConfig.from_pretrained(path).dtype if (path / "config.json").is_file() else None) or torch.float32
