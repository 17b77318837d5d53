"""Where a killed training run goes on: the last checkpoint that was written whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from tracer.planner.adapter import is_adapter

STATE = "trainer_state.json"  # the Trainer writes it last
WRITING = ".writing"  # where a checkpoint is until it is whole


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint, or None; incomplete ones, which a kill leaves behind, are deleted."""
    shutil.rmtree(folder / WRITING, ignore_errors=True)
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    complete = [path for path in found if (path / STATE).is_file()]
    for path in found:
        if path not in complete:
            shutil.rmtree(path)
    return str(complete[-1]) if complete else None


class NamedWeights:
    """A mix-in for ``transformers.Trainer``: resuming takes up a checkpoint's weights whatever they are called in it.

    ``save_pretrained`` writes a vision-language model's weights under their published names, which are not those of its
    parameters. The Trainer loads them by name and leaves out what does not match: all of them, with no more than a
    warning, and training goes on from the start's weights.
    """

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        trainer: Any = self
        model = model if model is not None else trainer.model
        if not hasattr(type(model), "from_pretrained") or trainer.is_fsdp_enabled or is_adapter(model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
            return
        saved = type(model).from_pretrained(resume_from_checkpoint, dtype=model.dtype, use_safetensors=True)
        model.load_state_dict(saved.state_dict())


CHOICE = "choice.pt"


def save_choice(folder: Path, chosen: list[int]) -> None:
    """Keep which states were chosen to train on, and the random state that choosing them left behind."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    written = folder / f".{CHOICE}"
    torch.save({"chosen": chosen, "cpu": torch.get_rng_state(), "cuda": cuda}, written)
    os.replace(written, folder / CHOICE)


def load_choice(folder: Path) -> list[int] | None:
    """The kept choice, the random state set as if it had been made now; None if none was kept."""
    import torch

    path = folder / CHOICE
    if not path.is_file():
        return None
    kept = torch.load(path, weights_only=True)
    torch.set_rng_state(kept["cpu"])
    if kept["cuda"]:
        torch.cuda.set_rng_state_all(kept["cuda"])
    return list(kept["chosen"])
