"""What a reward scores: one sampled answer to one prompt. Light to import: the stages' own modules need no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tracer.examples import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The reward of one completion, in named parts that sum to it. ``parsed`` is False for an unparsable forecast."""

    parts: Mapping[str, float]
    parsed: bool

    @property
    def total(self) -> float:
        """The whole reward."""
        return sum(self.parts.values())


Score = Callable[[Example, str], Scored]
"""The reward of an answer to an example's prompt."""
