"""Traces for viewers that others keep: ``tracer view --format``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tracer.evaluation.traces import TRACES
from tracer.lineage.digest import LineageError
from tracer.reporting import atif, cua, inspect_log
from tracer.reporting.traced import Row, traced

FORMATS: dict[str, Callable[[Path, Sequence[Row], Path], None]] = {
    "atif": atif.write,
    "cua": cua.write,
    "inspect": inspect_log.write,
}
"""How the traced episodes of a step's folder are written into another one."""


def export(format: str, folders: Sequence[Path], out: Path) -> int:
    """Write every traced episode of runs and steps' folders, each in a folder of its own if they are several.

    Returns how many there are. Raises ``LineageError`` where there is no trace, and for a folder that is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise LineageError(f"{out} is not empty; choose another folder, or empty it")
    number = 0
    for root in dict.fromkeys(folders):
        into = out if len(folders) == 1 else out / str(root).replace("/", "-").strip("-.")
        for folder, rows in traced(root):
            into.mkdir(parents=True, exist_ok=True)
            FORMATS[format](folder, rows, into)
            number += len(rows)
    if not number:
        names = ", ".join(map(str, folders))
        raise LineageError(f"{names} contains no trace ({TRACES}); `tracer evaluate online` writes one")
    return number
