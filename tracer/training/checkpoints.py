"""Checkpoints that survive a kill: one counts only once all of it is on the disk.

transformers' Trainer writes a checkpoint file by file under its final name (an atomic way was merged and reverted,
transformers#36112), and deletes older ones before the new one has reached the disk. Here a checkpoint is marked when it
is whole, one without a mark is never resumed from, and older ones are deleted last.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from tracer.planner.files import share, weight_files
from tracer.training import processes

WHOLE = "whole"  # the mark: an empty file


class Checkpoints(TrainerCallback):
    """Marks every checkpoint of a run when it is whole, and keeps the newest ``keep`` of them."""

    def __init__(self, folder: Path, keep: int):
        self.folder = folder
        self.keep = keep

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark what was just written, then delete what is too old."""
        PartialState().wait_for_everyone()  # each process writes its own random state
        if not processes.main():
            return
        written = self.folder / f"checkpoint-{state.global_step}"
        share(written, written / TRAINER_STATE_NAME)
        for path in [*written.rglob("*"), written]:
            _sync(path)
        (written / WHOLE).touch()
        for path in (written / WHOLE, written, self.folder):
            _sync(path)
        for old in _all(self.folder)[: -self.keep]:
            shutil.rmtree(old)


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint, or None; others, which a kill or a full disk leaves behind, are deleted.

    Raises ``DamagedFile`` where its weights were cut off since.
    """
    found = _all(folder)
    whole = [path for path in found if (path / WHOLE).is_file()]
    for path in found:
        if path not in whole:
            shutil.rmtree(path)
    if not whole:
        return None
    weight_files(whole[-1])
    return str(whole[-1])


def _all(folder: Path) -> list[Path]:
    """The trainer's own, by their steps: whatever else lies there, such as a copy in another format, stays there."""
    found = {
        path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in folder.glob("checkpoint-*") if path.is_dir()
    }
    numbers = {path: int(match[1]) for path, match in found.items() if match}
    return sorted(numbers, key=numbers.__getitem__)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
