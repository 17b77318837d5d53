"""What every grammar has in common: it writes a forecast as lines, one per step, and reads an answer line by line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tracer.forecast import Forecast, ForecastError, ForecastStep
from tracer.trajectory import State

ParseRule = Literal["prefix", "whole"]
"""What a line that does not parse costs: itself and what follows (``prefix``), or the whole forecast (``whole``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read in an answer. Nothing is repaired."""

    forecast: Forecast | None
    """At least one step; None where the answer contains no forecast."""
    error: str = ""
    """Why the first line that does not parse does not; empty where every line does."""

    @property
    def cut(self) -> bool:
        """Whether the forecast ends early, before a line that does not parse."""
        return self.forecast is not None and bool(self.error)


class Grammar(ABC):
    """How a forecast is written."""

    def __init__(self, rule: ParseRule = "prefix"):
        self.rule = rule

    @abstractmethod
    def format(self, forecast: Sequence[ForecastStep], state: State) -> str:
        """The text of a forecast made in ``state``."""

    @abstractmethod
    def lines(self, text: str) -> list[str]:
        """The lines of an answer that have to be steps; raises ``ForecastError`` where there is none."""

    @abstractmethod
    def step(self, line: str, state: State) -> ForecastStep:
        """The step that one line is; raises ``ForecastError``."""

    def read(self, text: str, state: State, horizon: int) -> Reading:
        """The first ``horizon`` steps of an answer: those before the first line that does not parse.

        Only a forecast's first step is executed, so a bad later line must not void it. A first line that does not
        parse is no forecast.
        """
        steps: list[ForecastStep] = []
        try:
            for line in self.lines(text)[:horizon]:
                steps.append(self.step(line, state))
        except ForecastError as error:
            kept = steps if self.rule == "prefix" else []
            return Reading(forecast=tuple(kept) or None, error=str(error))
        return Reading(forecast=tuple(steps))
