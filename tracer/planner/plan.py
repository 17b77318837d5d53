"""What a planner is: it turns states into forecasts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Protocol

from tracer.grammars.reading import Constrain, ParseRule, Reading
from tracer.json_files import read_json
from tracer.planner.settings import PlannerConfig
from tracer.trajectory import State

SETTINGS = "planner.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Reading):
    """A planner's answer: its text, and what was read in it."""

    text: str
    prompt: str = ""
    """What the planner was shown as text, where it says so."""
    tokens: int = 0
    """How many tokens the answer has, where the planner counts them."""
    confidence: float | None = field(default=None, compare=False)
    """How probable the planner itself finds its answer: the geometric mean of the tokens' probabilities, in [0, 1];
    None where it does not say. Its last digits depend on what else was in the batch."""


def mean_probability(logprobs: Sequence[float]) -> float:
    """The geometric mean of the probabilities of at least one token, from their logarithms; at most 1."""
    return math.exp(min(sum(logprobs) / len(logprobs), 0.0))


class Planner(Protocol):
    """Turns states into forecasts, many at once.

    Another backend, such as one behind an API, is a function from a folder to a planner, registered as an entry point
    of the group ``tracer.planners``. The folder's ``planner.json`` names it, ``{"backend": NAME}``, beside whatever
    else the backend reads there: so the folder's digest is the planner's, and steps run again when it changes.
    """

    name: str

    def forecast(self, states: Sequence[State], horizon: int, attempt: int = 0) -> list[Plan]:
        """One plan per state, in order, each of at most ``horizon`` steps.

        Attempt 0 is the planner's best answer; every other one is a sample, the same for the same state and attempt.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSettings:
    """What travels with a planner's weights: without it they answer to a prompt they were never trained on."""

    grammar: str
    horizon: int
    history: int
    image: bool
    max_new_tokens: int
    parse: ParseRule = "prefix"
    constrain: Constrain = "off"

    @classmethod
    def of(cls, config: PlannerConfig) -> PlannerSettings:
        """The settings of a configuration."""
        return cls(**config.model_dump(include={each.name for each in fields(cls)}))

    @classmethod
    def load(cls, folder: Path) -> PlannerSettings:
        """The settings saved beside the weights; raises ``FileNotFoundError``."""
        return cls(**read_json(folder / SETTINGS, "grammar"))

    def save(self, folder: Path) -> None:
        """Write the settings beside the weights."""
        (folder / SETTINGS).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
