"""What a report says before its numbers: what was trained on what, what it cost, and which episodes to watch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracer.evaluation.results import read_rows
from tracer.lineage.digest import finished
from tracer.reporting.links import address
from tracer.reporting.tables import PLANNERS, evaluated
from tracer.stages import BASE, STAGES

EPISODES = 8
"""Failed episodes that are listed; of the solved ones half as many."""


def made(folders: Mapping[str, Path]) -> Iterator[str]:
    """What was trained on what, in sentences."""
    known = {name: lineage for name, folder in folders.items() if (lineage := finished(folder)) is not None}
    data = known.get("trajectories", {}).get("metrics", {})
    if "steps" in data:
        yield f"The data are {data['trajectories']:,} trajectories of {data['steps']:,} steps."
    for stage in STAGES:
        lineage = known.get(stage.name, {})
        steps = lineage.get("config", {}).get(stage.name, {}).get("steps")
        if steps and "states" in lineage["metrics"]:
            start = lineage["inputs"][BASE]["path"] if stage.start == BASE else PLANNERS[stage.start]
            states = lineage["metrics"]["states"]
            yield f"{stage.title.capitalize()} trained {start} for {steps:,} optimizer steps on {states:,} states."


def spent(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What each step cost: its seconds and, where episodes were played, the planner's answers and their tokens."""
    found = []
    for name, folder in folders.items():
        lineage = finished(folder)
        rows = read_rows(folder) if name.startswith("online-") else []
        if lineage is not None:
            answers, tokens = (sum(row[key] for row in rows) for key in ("calls", "tokens"))
            found.append({"step": name, "seconds": lineage["seconds"], "answers": answers, "tokens": tokens})
    return found


def episodes(folders: Mapping[str, Path], seed: int) -> list[dict[str, Any]]:
    """Online episodes of the last planner that was played, drawn by the seed, failures first, each with its film."""
    played = {name: rows for name, path in evaluated(folders, "online").items() if (rows := read_rows(path))}
    if not played:
        return []
    last = list(played)[-1]
    rows = sorted(played[last], key=lambda row: str(row["id"]))
    random.Random(f"{seed}/episodes").shuffle(rows)
    failed, solved = ([row for row in rows if row["success"] == value] for value in (0, 1))
    return [
        {**row, "film": address("online", last, row["id"], row.get("first_wrong") or 1)}
        for row in (*failed[:EPISODES], *solved[: EPISODES // 2])
    ]
