"""What a grammar is: it writes a forecast as text, one line per step, and reads it back.

``planner.grammar`` in params.yaml chooses: ``literal`` for large models, ``reasoned`` for those that think aloud first,
``pointing`` for small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tracer.forecast import Forecast, ForecastStep
from tracer.grammars.literal import Literal, Reasoned
from tracer.grammars.pointing import Pointing
from tracer.trajectory import State


class Grammar(Protocol):
    """How a forecast is written."""

    def format(self, forecast: Sequence[ForecastStep], state: State) -> str:
        """The text of a forecast made in ``state``."""

    def parse(self, text: str, state: State, horizon: int) -> Forecast:
        """The first ``horizon`` steps of a text; raises ``ForecastError``."""


def grammar(name: str) -> Grammar:
    """The grammar of that name; raises ``KeyError``."""
    known: dict[str, Grammar] = {"literal": Literal(), "reasoned": Reasoned(), "pointing": Pointing()}
    return known[name]
