"""What a benchmark is: items, predictions, and the rule that gives each item its outcome.

An item is one line of ``items.jsonl`` (the question and its reference), a prediction one line of
``predictions.jsonl``. An outcome is what the item adds to each metric: a numerator and a denominator, so that a
conditional metric ("correct clicks among clicks of the right type") is as plain as a mean. Every item has an outcome;
one without a usable prediction has a failed one and a reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tracer.action import Action, ActionError
from tracer.benchmarks.names import BENCHMARKS
from tracer.scoring.conventions import Convention, ConventionError, parse
from tracer.scoring.protocol import BenchmarkProtocol

Parts = Mapping[str, tuple[float, float]]


class BenchmarkError(ValueError):
    """Items, predictions or results that cannot be scored; the message names the file, the line and the mend."""


class Unparsable(ValueError):
    """One prediction that is not in a form its protocol reads: a counted failure."""


class Part(BaseModel):
    """A frozen, strictly typed piece of a row; unknown keys, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Row(Part):
    id: str = Field(min_length=1, max_length=400)
    """What joins an item and its prediction; unique in its file."""


class PredictionRow(Row):
    """A prediction: exactly one of ``native``, ``action``, ``text`` and ``error``."""

    native_field: ClassVar[str] = "native"

    action: dict[str, Any] | None = None
    """An action of tracer/action.py: fractions of the screen, the finger's direction."""
    text: str | None = None
    """A model's raw output; ``convention`` says how to read it."""
    convention: str | None = None
    """One of tracer/scoring/conventions.py."""
    resized: list[int] | None = Field(default=None, min_length=2, max_length=2)
    """Width and height of the image as the model saw it, for conventions in its pixels; absent: the item's size."""
    error: str | None = None
    """Why there is no answer: the run of this item crashed or timed out. A counted failure."""
    seconds: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        names = (self.native_field, "action", "text", "error")
        given = [name for name in names if name in self.model_fields_set]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(names)} is needed, not {given or 'none'}")
        if (self.text is None) != (self.convention is None):
            raise ValueError("text and convention go together")
        if self.convention is not None and self.convention not in get_args(Convention):
            raise ValueError(f"convention {self.convention!r} is none of {', '.join(get_args(Convention))}")
        return self

    def read_action(self, size: tuple[int, int]) -> Action:
        """The action of ``action`` or ``text``; raises ``Unparsable``. ``size``: the item's, in pixels."""
        try:
            if self.text is not None and self.convention is not None:
                resized = (self.resized[0], self.resized[1]) if self.resized else size
                return parse(self.text, self.convention, size=size, resized=resized)
            return Action.from_json(self.action or {})
        except (ActionError, ConventionError) as error:
            raise Unparsable(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one item adds to the metrics."""

    parts: Parts
    """Metric -> (numerator, denominator); a denominator of 0 keeps the item out of that metric."""
    cluster: str
    """What is resampled together, and what macro means and episode rates run over: an episode, a task, the item."""
    size: int | None = None
    """How many items the cluster has in the benchmark, where the protocol asks for it."""
    stratum: str = ""
    """What a mean over categories runs over."""
    groups: tuple[str, ...] = ()
    """Breakdowns that are reported beside the total, for example ``split=app_unseen``."""
    reason: str = ""
    detail: str = ""


class Scorer(Protocol):
    """The rules of one benchmark under one protocol."""

    item_model: ClassVar[type[Row]]
    prediction_model: ClassVar[type[PredictionRow]]

    def __init__(self, protocol: BenchmarkProtocol) -> None: ...

    def outcome(self, item: Any, prediction: Any) -> Outcome:
        """The outcome of an item; a prediction of None is a failure. Raises ``Unparsable``."""


def scorer_class(benchmark: str) -> type[Scorer]:
    """The scorer of a benchmark; raises ``BenchmarkError``."""
    if benchmark not in BENCHMARKS:
        raise BenchmarkError(f"unknown benchmark {benchmark!r}; there are: {', '.join(BENCHMARKS)}")
    found: type[Scorer] = importlib.import_module(f"tracer.benchmarks.{benchmark}").Scorer
    return found
