"""What a benchmark is: items, predictions, and the rule that gives each item its outcome.

An item is one line of ``items.jsonl`` (the question and its reference), a prediction one line of
``predictions.jsonl``. An outcome is what the item adds to each metric: a numerator and a denominator, so that a
conditional metric ("correct clicks among clicks of the right type") is as plain as a mean. Every item has an outcome;
one without a usable prediction has a failed one and a reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tracer import plugins
from tracer.action import Action, ActionError
from tracer.faults import faults
from tracer.grammars.conventions import Convention, ConventionError, parse
from tracer.planner.plan import Planner
from tracer.scoring.protocol import BenchmarkProtocol
from tracer.settings import ConfigError
from tracer.tools.tool_agent import ToolAgent

Parts = Mapping[str, tuple[float, float]]


class BenchmarkError(ValueError):
    """Items, predictions or results that cannot be scored; the message names the file, the line and the fix."""


class NotGiven(BenchmarkError, ConfigError):
    """Something that a benchmark needs was not given, or is not there under the name that was given."""


class Unparsable(ValueError):
    """One prediction that is not in a form its protocol reads: a counted failure."""


class Part(BaseModel):
    """A frozen, strictly typed piece of a row; unknown keys, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Row(Part):
    """One line of a file of items or predictions."""

    id: str = Field(min_length=1, max_length=400)
    """What joins an item and its prediction; unique in its file."""


class PredictionRow(Row):
    """A prediction: exactly one of ``native``, ``action``, ``text`` and ``error``; other fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    action: dict[str, Any] | None = None
    """An action of tracer/action.py: fractions of the screen, the finger's direction."""
    text: str | None = None
    """A model's raw output; ``convention`` says how to read it."""
    convention: str | None = None
    """One of tracer/grammars/conventions.py."""
    resized: list[Annotated[int, Field(gt=0)]] | None = Field(default=None, min_length=2, max_length=2)
    """Width and height of the image as the model saw it, for conventions in its pixels; absent: the item's size."""
    error: str | None = None
    """Why there is no answer: the run of this item crashed or timed out. A counted failure."""
    seconds: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        names = ("native", "action", "text", "error")
        given = [name for name in names if name in self.model_fields_set]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(names)} is needed, not {given or 'none'}")
        if (self.text is None) != (self.convention is None):
            raise ValueError("text and convention go together")
        if self.convention is not None and self.convention not in get_args(Convention):
            raise ValueError(f"convention {self.convention!r} is none of {', '.join(get_args(Convention))}")
        return self

    def required(self, what: str) -> Any:
        """``native``, for a benchmark that reads nothing else; raises ``Unparsable`` where it is missing."""
        native = getattr(self, "native", None)
        if native is None:
            raise Unparsable(f"native is needed: {what}")
        return native

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
    category: str = ""
    """What a ``hit`` metric tells apart, for example the type of the recorded action."""
    groups: tuple[str, ...] = ()
    """Breakdowns that are reported beside the total, for example ``split=app_unseen``."""
    reason: str = ""
    detail: str = ""


Worker = Callable[[Sequence[dict[str, Any]]], Sequence[dict[str, Any]]]
"""Items -> their predictions, in order, without ids."""


class Benchmark(ABC):
    """One benchmark under one protocol: the rules that give each item its outcome.

    A benchmark is a subclass, registered as an entry point of the group ``tracer.benchmarks``. Its protocols are a data
    file of the package that its module is in: ``protocols/<name>.yaml`` (tracer/scoring/protocol.py).
    """

    item_model: ClassVar[type[Row]]
    """What a line of ``items.jsonl`` holds."""
    prediction_model: ClassVar[type[PredictionRow]]
    """What a line of ``predictions.jsonl`` holds."""
    match_model: ClassVar[Any]
    """What a protocol's ``match`` holds: the rule's name, radii, thresholds. A ``Part``, or a union of several."""
    environment: ClassVar[str] = ""
    """The world (tracer/environments/environment.py) that its episodes are played in, where it is played. An item then
    has the fields ``page`` (the world's task) and ``seed``, a prediction's ``native`` is ``{"success", "steps"}``, and
    ``match.strategy`` names the agent."""

    def __init__(self, protocol: BenchmarkProtocol) -> None:
        """Raises ``BenchmarkError`` for a protocol whose ``match`` is not this benchmark's."""
        self.protocol = protocol
        try:
            self.match: Any = TypeAdapter(self.match_model).validate_python(protocol.match)
        except ValidationError as error:
            raise BenchmarkError(f"{protocol.id}: match: {faults(error)}") from error

    def limit(self, steps: int | None) -> None:
        """Raise ``Unparsable`` for an episode of more steps than the protocol allows."""
        most = self.protocol.decoding.max_steps
        if most is not None and steps is not None and steps > most:
            raise Unparsable(f"{steps} steps under a protocol of {most}")

    @abstractmethod
    def outcome(self, item: Any, prediction: Any) -> Outcome:
        """The outcome of an item; a prediction of None is a failure. Raises ``Unparsable``."""

    @classmethod
    def complete(cls) -> bool:
        """Whether it brings its items and is played here, so that nothing has to be given but a planner."""
        played = bool(cls.environment) or cls.worker is not Benchmark.worker
        return played and cls.own_items is not Benchmark.own_items

    def own_items(self) -> Iterator[dict[str, Any]]:
        """The item list, where it comes with the benchmark; raises ``BenchmarkError`` where it does not."""
        raise NotGiven(
            f"{self.protocol.benchmark} has no item list of its own; pass --items (docs/benchmarks.md says how they "
            f"are made)"
        )

    def results(self, folder: Path) -> Iterator[dict[str, Any]]:
        """The predictions in the folder that the benchmark's own runner writes; raises ``BenchmarkError``."""
        raise BenchmarkError(f"{folder} is a folder; {self.protocol.benchmark} is scored from a predictions.jsonl")

    def worker(self, planner: Planner, horizon: int, tools: ToolAgent, images: Path | None) -> Worker:
        """How a planner answers the items; ``images`` is the folder that their images are relative to.

        Raises ``BenchmarkError`` where nothing here can play the benchmark.
        """
        raise BenchmarkError(
            f"{self.protocol.id} has no driver here: run your agent in the benchmark's own runner and score what it "
            f"left, `tracer score {self.protocol.benchmark} --protocol {self.protocol.name} --predictions ...`"
        )


def left_behind(key: str, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The prediction ``key`` that a runner's file gives; a file that cannot be read, or written again, is a crash."""
    try:
        row = read()
        orjson.dumps(row)
    except Exception as error:  # runners' files are anybody's, and one must not end the run
        row = {"error": printable(f"{type(error).__name__}: {error}")[:400]}
    return {"id": printable(key), **row}


def printable(text: str) -> str:
    """The text without lone surrogates, which cannot be written."""
    return text.encode(errors="replace").decode()


def played_episode(row: Mapping[str, Any]) -> dict[str, Any]:
    """The prediction that an online row (tracer/evaluation/episodes.py) is, for a benchmark with an environment."""
    native = {"success": row["success"] == 1, "steps": row["steps"]}
    return {"id": f"{row['task']}/{row['seed']}", "native": native}


def benchmark_class(name: str) -> type[Benchmark]:
    """The class of a benchmark; raises ``PluginError``."""
    found: type[Benchmark] = plugins.load(plugins.BENCHMARKS, name)
    return found
