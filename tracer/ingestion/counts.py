"""What was ingested, counted: ``stats.json``, to compare with the counts that a data set's publisher states."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tracer.sources.source import Rejected
from tracer.trajectory import SPLITS, Trajectory

STATS = "stats.json"
Item = Trajectory | Rejected


class Counts:
    """Counts what was ingested, to compare with what a data set's publisher states."""

    def __init__(self) -> None:
        self.trajectories: Counter[tuple[str, str, str]] = Counter()
        """By source, split and task; ``steps`` likewise."""
        self.steps: Counter[tuple[str, str, str]] = Counter()
        self.actions: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()

    def add(self, item: Item) -> None:
        """Count a trajectory or a rejected record."""
        if isinstance(item, Rejected):
            self.rejected[item.reason] += 1
            return
        key = (item.source, item.split, item.task)
        self.trajectories[key] += 1
        self.steps[key] += len(item.steps)
        self.outcomes[item.outcome] += 1
        self.actions.update(step.action.type for step in item.steps)

    def to_dict(self) -> dict[str, Any]:
        """The counts as ``stats.json`` holds them."""

        def total(counter: Counter[tuple[str, str, str]], place: int) -> dict[str, int]:
            totals: Counter[str] = Counter()
            for key, count in counter.items():
                totals[key[place]] += count
            return dict(sorted(totals.items()))

        splits = [split for split in SPLITS if any(key[1] == split for key in self.trajectories)]
        return {
            "trajectories": self.trajectories.total(),
            "steps": self.steps.total(),
            "sources": total(self.trajectories, 0),
            "outcomes": dict(sorted(self.outcomes.items())),
            "actions": dict(sorted(self.actions.items())),
            "splits": {split: self._split(split) for split in splits},
            "rejected": {"total": self.rejected.total(), "reasons": dict(sorted(self.rejected.items()))},
        }

    def _split(self, split: str) -> dict[str, Any]:
        tasks: dict[str, dict[str, int]] = {}
        for key in sorted(self.trajectories):
            if key[1] == split:
                task = tasks.setdefault(key[2], {"trajectories": 0, "steps": 0})
                task["trajectories"] += self.trajectories[key]
                task["steps"] += self.steps[key]
        sums = {name: sum(task[name] for task in tasks.values()) for name in ("trajectories", "steps")}
        return {**sums, "tasks": tasks}
