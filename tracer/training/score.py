"""What a reward scores: one sampled answer to one prompt. Light to import: the stages' own modules need no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tracer.examples import Example
from tracer.grammars.reading import Reading
from tracer.threads import side_by_side
from tracer.training.settings import GrpoConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The reward of one completion, in named parts that sum to it."""

    parts: Mapping[str, float]
    reading: Reading
    """What was read in the completion."""

    @property
    def total(self) -> float:
        """The whole reward."""
        return sum(self.parts.values())


Score = Callable[[Example, str], Scored]
"""The reward of an answer to an example's prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a stage trains for, in one configuration."""

    name: str
    """The stage's, which is also that of its section of the configuration."""
    options: GrpoConfig
    """That section."""
    parts: tuple[str, ...]
    """The names of the reward's parts."""
    score: Score
    reads: int
    """How many steps of a forecast the score depends on."""
    together: int = 1
    """How many answers are scored at the same time."""
    counts: Callable[[Sequence[Example]], dict[str, int]] = lambda states: {}
    """What is to be said of the states that it trained on."""

    def scored(self, prompts: Sequence[Example], texts: Sequence[str]) -> list[Scored]:
        """Every answer's reward, in order."""
        return side_by_side(self.together, self.score, prompts, texts)
