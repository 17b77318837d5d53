"""How far new data is from the data that the champion was trained on.

Mixes (action types, screen sizes, known targets) are compared by the Jensen-Shannon distance to base 2, numbers (goal
lengths, element counts) by the two-sample Kolmogorov-Smirnov statistic. Both lie between 0 and 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tracer.action import POINTED
from tracer.batches.settings import DriftConfig
from tracer.trajectory import Trajectory

SHOWN = 12
"""How many values of a mix a picture shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What is compared of a data set; each mix or list is named like its limit in ``DriftConfig``."""

    mixes: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in ("action_mix", "screen_sizes", "unknown_targets")}
    )
    numbers: dict[str, list[int]] = field(
        default_factory=lambda: {name: [] for name in ("goal_length", "element_count")}
    )

    @classmethod
    def of(cls, trajectories: Iterable[Trajectory]) -> Traits:
        """Those of the episodes that train, or of all the others where none does."""
        training, others = cls(), cls()
        for trajectory in trajectories:
            (training if trajectory.split == "train" else others)._count(trajectory)
        return training if training.numbers["goal_length"] else others

    def _count(self, trajectory: Trajectory) -> None:
        self.numbers["goal_length"].append(len(trajectory.goal))
        for step in trajectory.steps:
            self.mixes["action_mix"][step.action.type] += 1
            if step.image is not None:
                self.mixes["screen_sizes"][f"{step.width} x {step.height}"] += 1
            if step.action.type in POINTED:
                self.mixes["unknown_targets"]["unknown" if step.target is None else "known"] += 1
            if step.elements is not None:
                self.numbers["element_count"].append(len(step.elements))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One trait of a batch beside that of the data it is compared with."""

    name: str
    distance: float
    """Between 0 and 1."""
    limit: float

    @property
    def drifted(self) -> bool:
        """Whether it is further away than it may be."""
        return self.distance > self.limit


def shifts(batch: Traits, reference: Traits, limits: DriftConfig) -> list[Shift]:
    """Every trait's distance, in the order of ``DriftConfig``."""
    distances = {name: _mixes_apart(batch.mixes[name], mix) for name, mix in reference.mixes.items()}
    distances |= {name: _numbers_apart(batch.numbers[name], values) for name, values in reference.numbers.items()}
    return [Shift(name=name, distance=round(distances[name], 4), limit=limit) for name, limit in limits]


def _mixes_apart(one: Counter[str], two: Counter[str]) -> float:
    from scipy.spatial.distance import jensenshannon

    if not one or not two:  # nothing points, or no step has a screen
        return float(bool(one) != bool(two))
    values = sorted(one.keys() | two.keys())
    return float(jensenshannon([one[value] for value in values], [two[value] for value in values], base=2))


def _numbers_apart(one: list[int], two: list[int]) -> float:
    from scipy.stats import ks_2samp

    if not one or not two:
        return float(bool(one) != bool(two))
    return float(ks_2samp(one, two).statistic)


def picture(batch: Traits, reference: Traits, found: Iterable[Shift], path: Path) -> None:
    """Write the traits of both, side by side, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.2), layout="constrained")
    every = list(found)
    for axes, shift in zip(figure.subplots(1, len(every)), every, strict=True):
        name = shift.name
        axes.set_title(f"{name.replace('_', ' ')}: {shift.distance:.2f} of {shift.limit:.2f}", fontsize=9)
        for offset, label, traits in ((-0.2, "batch", batch), (0.2, "reference", reference)):
            if name in traits.numbers:
                if traits.numbers[name]:
                    axes.ecdf(traits.numbers[name], label=label)
                continue
            mix = traits.mixes[name]
            values = [value for value, _ in (batch.mixes[name] + reference.mixes[name]).most_common(SHOWN)]
            shares = [mix[value] / max(1, mix.total()) for value in values]
            axes.barh([index + offset for index in range(len(values))], shares, height=0.4, label=label)
            axes.set_yticks(range(len(values)), values, fontsize=7)
        axes.legend(fontsize=7)
    figure.savefig(path, format="png")
