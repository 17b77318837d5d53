"""What was ingested, counted: ``stats.json``, to compare with the counts that a data set's publisher states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tracer.sources.source import Rejected
from tracer.trajectory import SPLITS, Trajectory

STATS = "stats.json"
Item = Trajectory | Rejected


class Counts:
    """Counts what was ingested, to compare with what a data set's publisher states."""

    def __init__(self) -> None:
        self.trajectories: Counter[tuple[str, str]] = Counter()
        """By split and task; ``steps`` likewise."""
        self.steps: Counter[tuple[str, str]] = Counter()
        self.sources, self.outcomes, self.actions, self.rejected = (Counter[str]() for _ in range(4))
        self.rejected_steps = 0
        """The steps that were lost with rejected records, as far as the adapter could count them."""

    def add(self, item: Item) -> None:
        """Count a trajectory or a rejected record."""
        if isinstance(item, Rejected):
            self.rejected[item.reason] += 1
            self.rejected_steps += item.steps
        else:
            self._count(item, 1)

    def reject(self, item: Trajectory, reason: str) -> None:
        """Count a trajectory that was counted already as a rejected record instead."""
        self._count(item, -1)
        self.rejected[reason] += 1

    def _count(self, item: Trajectory, times: int) -> None:
        self.trajectories[item.split, item.task] += times
        self.steps[item.split, item.task] += times * len(item.steps)
        self.sources[item.source] += times
        self.outcomes[item.outcome] += times
        for step in item.steps:
            self.actions[step.action.type] += times

    def include(self, stats: Mapping[str, Any]) -> None:
        """Add the counts of a ``stats.json``."""
        for split, found in stats["splits"].items():
            for task, counts in found["tasks"].items():
                self.trajectories[split, task] += counts["trajectories"]
                self.steps[split, task] += counts["steps"]
        for name in ("sources", "outcomes", "actions"):
            getattr(self, name).update(stats[name])
        self.rejected.update(stats["rejected"]["reasons"])
        self.rejected_steps += stats.get("rejected_steps", 0)

    def to_dict(self) -> dict[str, Any]:
        """The counts as ``stats.json`` holds them."""
        return {
            "trajectories": self.trajectories.total(),
            "steps": self.steps.total(),
            **{name: dict(sorted((+getattr(self, name)).items())) for name in ("sources", "outcomes", "actions")},
            "splits": {split: found for split in SPLITS if (found := self._split(split))["tasks"]},
            "rejected": {"total": self.rejected.total(), "reasons": dict(sorted(self.rejected.items()))},
            **({"rejected_steps": self.rejected_steps} if self.rejected_steps else {}),
        }

    def _split(self, split: str) -> dict[str, Any]:
        tasks = {
            key[1]: {"trajectories": count, "steps": self.steps[key]}
            for key, count in sorted((+self.trajectories).items())
            if key[0] == split
        }
        sums = {name: sum(task[name] for task in tasks.values()) for name in ("trajectories", "steps")}
        return {**sums, "tasks": tasks}


def warnings(lengths: Counter[int]) -> list[str]:
    """What people should look at, from how many trajectories have how many steps."""
    total = lengths.total()
    if total and lengths[1] * 2 > total:
        return [f"{lengths[1]} of {total} trajectories have one step: are the steps of a trajectory told apart right?"]
    return []


def metrics(stats: Mapping[str, Any]) -> dict[str, Any]:
    """The headline metrics of an ingested folder."""
    return {"trajectories": stats["trajectories"], "steps": stats["steps"], "rejected": stats["rejected"]["total"]}
