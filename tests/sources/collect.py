"""What a source gives, sorted by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracer.sources.source import Rejected, source
from tracer.trajectory import Trajectory


def collected(name: str, path: Path, **options: Any) -> tuple[list[Trajectory], list[Rejected]]:
    found = list(source(name).read(path, **options))
    return (
        [item for item in found if isinstance(item, Trajectory)],
        [item for item in found if isinstance(item, Rejected)],
    )


def types(trajectory: Trajectory) -> list[str]:
    return [step.action.type for step in trajectory.steps]
