"""What a reward scores: one sampled answer to one prompt. Light to import: the stages' own modules need no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tracer.forecast import Forecast
from tracer.trajectory import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One state to forecast from, with what was really done from there on."""

    trajectory: str
    step: int
    task: str
    state: State
    reference: Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The reward of one completion, in named parts that sum to it. ``parsed`` is False for an unparsable forecast."""

    parts: Mapping[str, float]
    parsed: bool

    @property
    def total(self) -> float:
        return sum(self.parts.values())


Score = Callable[[Prompt, str], Scored]
"""The reward of an answer to a prompt."""
