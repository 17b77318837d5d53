"""Traces for viewers that others keep: ``tracer view --format``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from tracer.lineage.digest import LineageError
from tracer.settings import ConfigError

FORMATS = {"atif": "atif", "cua": "cua", "inspect": "inspect_log"}
"""The modules whose ``write`` writes the traced episodes of a step's folder into another one. They are named and not
imported, because the command line lists the formats before it knows whether one is wanted."""


def export(format: str, folders: Sequence[Path], out: Path) -> int:
    """Write every traced episode of runs and steps' folders, each in a folder of its own if they are several.

    Returns how many there are. Raises ``ConfigError`` where there is no trace, and ``LineageError`` for an ``out`` that
    is in use.
    """
    from tracer.evaluation.traces import TRACES
    from tracer.reporting.traced import traced

    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise LineageError(f"{out} is no empty folder; choose another one, or empty it")
    write = importlib.import_module(f"tracer.reporting.{FORMATS[format]}").write
    number = 0
    for root in dict.fromkeys(folders):
        into = out if len(folders) == 1 else out / str(root).replace("/", "-").strip("-.")
        for folder, rows in traced(root):
            into.mkdir(parents=True, exist_ok=True)
            write(folder, rows, into)
            number += len(rows)
    if not number:
        names = ", ".join(map(str, folders))
        raise ConfigError(f"{names} contains no trace ({TRACES}); `tracer evaluate online` writes one")
    return number
