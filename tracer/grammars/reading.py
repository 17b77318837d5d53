"""What every grammar has in common: it writes a forecast as lines, one per step, and reads an answer line by line."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tracer.forecast import Forecast, ForecastError, ForecastStep
from tracer.trajectory import State

ParseRule = Literal["prefix", "whole"]
"""What a line that does not parse costs: itself and what follows (``prefix``), or the whole forecast (``whole``)."""


Constrain = Literal["off", "evaluation", "always"]
"""When answers are kept within the grammar: where a planner is evaluated or acts, or in training as well."""
CHARACTER = r'([^"\\\x00-\x1f]|\\(["\\\/bfnrt]|u([0-9a-ce-f][0-9a-f]{3}|d[0-7][0-9a-f]{2})))'
TERMINALS = rf"""
QUOTED: /"{CHARACTER}*"/
NAME: /"{CHARACTER}+"/
NUMBER: /(0|[1-9][0-9]{{0,7}})(\.[0-9]{{1,6}})?/
THOUSANDTH: /0|[1-9][0-9]{{0,2}}|1000/
"""
"""Texts as JSON writes them, without half a surrogate pair; numbers; coordinates: for ``Grammar.constraint``."""


def one_of(texts: Iterable[str]) -> str:
    """A choice between texts, of which there has to be one, as Lark writes it."""
    return "(" + " | ".join(json.dumps(text) for text in dict.fromkeys(texts)) + ")"


def line_by_line(first: str, later: str, horizon: int) -> str:
    """One line and at most ``horizon - 1`` more, as Lark writes it."""
    return f'{first} ("\\n" {later}){{0,{horizon - 1}}}' if horizon > 1 else first


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

    @abstractmethod
    def constraint(self, state: State, horizon: int) -> str:
        """The answers that are forecasts of at most ``horizon`` steps in ``state``: a grammar in llguidance's Lark.

        ``read`` reads all of them. The first step can be carried out on the present screen; later ones may name what
        is yet to come.
        """

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
