"""``tracer ingest --check``: what an ingestion would reject, without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.ingestion.parts import checked_options, unique
from tracer.sources.source import Rejected, source

MAX_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a source holds."""

    trajectories: int
    steps: int
    rejected: int
    reasons: Mapping[str, int]
    problems: tuple[str, ...]
    """The first ``MAX_SHOWN`` problems: the file, the row, what is wrong and the fix."""


def check(name: str, path: Path, options: Mapping[str, Any] | None = None) -> Checked:
    """Read a source as an ingestion would; raises ``SourceError`` for one that cannot be read at all."""
    trajectories, steps = 0, 0
    reasons: Counter[str] = Counter()
    problems: list[str] = []
    for item in unique(source(name).read(path, **checked_options(name, options or {}))):
        if isinstance(item, Rejected):
            reasons[item.reason] += 1
            problems += [str(item)] if len(problems) < MAX_SHOWN else []
        else:
            trajectories, steps = trajectories + 1, steps + len(item.steps)
    return Checked(
        trajectories=trajectories,
        steps=steps,
        rejected=reasons.total(),
        reasons=dict(sorted(reasons.items())),
        problems=tuple(problems),
    )
