"""What the history of a training run tells of its health: early signs of reward hacking, and collapse.

Everything here is a function of the logged history alone, so that a resumed run finds what an uninterrupted one does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tracer.reward import dead
from tracer.training.settings import GrpoConfig

Entry = Mapping[str, Any]

WINDOW = 10
"""Steps whose mean is judged: single steps are noise."""
DEAD = 0.8
UNPARSABLE = 0.3
UNPARSABLE_RISE = 0.1
REPEATED = 0.2
LENGTH = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One early sign, at the step where it set in."""

    step: int
    name: str
    value: float
    limit: float
    message: str

    def to_dict(self) -> dict[str, Any]:
        """The sign as a JSON object."""
        return {**asdict(self), "value": round(self.value, 6)}


def signs(history: Sequence[Entry]) -> list[Sign]:
    """Every early sign of a history, once for each time that it set in."""
    found: list[Sign] = []
    before: set[str] = set()
    for end in range(1, len(history) + 1):
        now = present(history[:end])
        found += [sign for sign in now if sign.name not in before]
        before = {sign.name for sign in now}
    return found


def present(history: Sequence[Entry]) -> list[Sign]:
    """The signs that are present at the history's end; none before there are ``WINDOW`` steps."""
    if len(history) < WINDOW:
        return []
    names = ("dead_groups", "unparsable", "repeated", "reward_length")
    dead, unparsable, repeated, length = (_over(history[-WINDOW:], name) for name in names)
    _, unparsable_first, repeated_first, _ = (_over(history[:WINDOW], name) for name in names)
    paid = "longer" if length > 0 else "shorter"
    candidates = [
        ("dead_groups", dead, DEAD, dead > DEAD,
         f"{dead:.0%} of the last {WINDOW} steps' groups taught nothing: equal rewards"),
        ("unparsable", unparsable, UNPARSABLE, unparsable > max(UNPARSABLE, unparsable_first + UNPARSABLE_RISE),
         f"{unparsable:.0%} of the forecasts no longer parse ({unparsable_first:.0%} at first)"),
        ("repetition", repeated, REPEATED, repeated > max(REPEATED, 2 * repeated_first),
         f"{repeated:.0%} of the forecasts' lines repeat an earlier one ({repeated_first:.0%} at first)"),
        ("length", length, LENGTH, abs(length) > LENGTH,
         f"within groups the reward goes with length (correlation {length:+.2f}): {paid} forecasts are paid"),
    ]  # fmt: skip
    step = int(history[-1].get("step", 0))
    return [
        Sign(step=step, name=name, value=value, limit=limit, message=message)
        for name, value, limit, present, message in candidates
        if present
    ]


def collapse(history: Sequence[Entry], patience: int) -> str | None:
    """Why training has collapsed, or None: a verdict over the last ``patience`` steps (0: never).

    Dead groups alone are no collapse: a planner that gets everything right has them too, at a high reward.
    """
    if not patience or len(history) < 2 * patience:
        return None
    recent = history[-patience:]
    if all(entry["unparsable"] > 0.99 for entry in recent):
        return f"no forecast has parsed for {patience} steps"
    reward = _mean([entry["reward"] for entry in recent])
    before = _mean([entry["reward"] for entry in history[:patience]])
    if all(entry["dead_groups"] == 1.0 for entry in recent) and reward < before:
        return (
            f"every group has been dead for {patience} steps at a mean reward of {reward:.3f}, less than the "
            f"{before:.3f} it began with: nothing is left that could teach the way back"
        )
    return None


def sampled(history: Sequence[Entry], stage: GrpoConfig) -> int:
    """How many tokens a stage has sampled for its updates."""
    return round(sum(entry["completions/mean_length"] for entry in history) * stage.groups * stage.group_size)


def dead_groups(groups: Sequence[int], parts: Sequence[Mapping[str, float]]) -> float:
    """The share of groups whose completions all earned the same reward parts, and so teach nothing.

    TRL's ``frac_reward_zero_std`` says so only of sums scaled group by group; otherwise it looks at the whole batch.
    """
    earned: dict[int, list[Mapping[str, float]]] = {}
    for group, found in zip(groups, parts, strict=True):
        earned.setdefault(group, []).append(found)
    lost = [all(dead([found[part] for found in group]) for part in group[0]) for group in earned.values()]
    return sum(lost) / len(lost)


def length_correlation(groups: Sequence[int], rewards: Sequence[float], lengths: Sequence[int]) -> float:
    """Pearson's correlation of reward and completion length, both less their group's mean; 0 if either is constant."""
    by_reward, by_length = _centred(groups, rewards), _centred(groups, lengths)
    scale = math.sqrt(sum(r * r for r in by_reward) * sum(n * n for n in by_length))
    return sum(r * n for r, n in zip(by_reward, by_length, strict=True)) / scale if scale > 1e-12 else 0.0


def repeated_lines(text: str) -> float:
    """The share of an answer's lines that repeat an earlier one of its lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def _centred(groups: Sequence[int], values: Sequence[float]) -> list[float]:
    held: dict[int, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        held.setdefault(group, []).append(value)
    means: dict[int, float] = {group: _mean(found) for group, found in held.items()}
    return [value - means[group] for group, value in zip(groups, values, strict=True)]


def _over(entries: Sequence[Entry], name: str) -> float:
    return _mean([entry.get(name) or 0.0 for entry in entries])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
