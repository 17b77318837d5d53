"""What a source gives, sorted by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracer.ingestion.settings import DataConfig
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


def data(name: str, path: Path, workers: int = 1, **options: Any) -> DataConfig:
    """What is ingested: a source's folder, with the adapter's options, and nothing pinned."""
    return DataConfig(source=name, path=str(path), options=options, workers=workers, pointer="")
