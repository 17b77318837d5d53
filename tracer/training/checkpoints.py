"""Where a killed training run goes on: the last checkpoint that was written whole."""

from __future__ import annotations

import shutil
from pathlib import Path

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
