"""BFCL v4 multi-turn: 800 tasks over eight stateful APIs, judged by the package's own checker.

The package ``bfcl-eval`` brings tasks, APIs, gold trajectories and checker; tracer/tools/bfcl.py runs the APIs.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tracer.planner.plan import Planner
from tracer.scoring.contract import Benchmark, BenchmarkError, Outcome, Part, PredictionRow, Row, Worker
from tracer.scoring.drivers import STEPS, converse
from tracer.tools import bfcl
from tracer.tools.bfcl import PACKAGE, Session, safe
from tracer.tools.gold import written_call
from tracer.tools.tool_agent import ToolAgent

MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"
"""What upstream says in a turn without words of its own, which shows a function that was missing."""
_runs = itertools.count()


class Item(Row):
    """One task; questions and gold are the package's."""

    category: Literal["base", "miss_param", "miss_func", "long_context"]
    turns: int = Field(gt=0)


class Prediction(PredictionRow):
    """``native``: for each turn, for each of its steps, the calls as texts: ``cd(folder='document')``."""

    native: list[list[list[str]]] | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["multi_turn_checker"]


class Bfcl(Benchmark):
    """Multi-turn tasks."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    @cached_property
    def _tasks(self) -> dict[str, tuple[dict[str, Any], list[list[str]]]]:
        return {task["id"]: (task, gold) for task, gold in bfcl.tasks()}

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one task. Raises ``Unparsable`` and, for a task the package lacks, ``BenchmarkError``."""
        if item.id not in self._tasks:
            raise BenchmarkError(f"{PACKAGE} has no task {item.id!r}; leave --items out to take its own")
        task, gold = self._tasks[item.id]
        valid = prediction is not None and check(task, gold, prediction.required("the calls by turn and step"))
        return Outcome(
            parts={"accuracy": (valid, 1)},
            cluster=item.id,
            stratum=item.category,
            groups=(f"category={item.category}", f"family={bfcl.family_of(task)}"),
        )

    def own_items(self) -> Iterator[dict[str, Any]]:
        """The package's 800 tasks."""
        for task, gold in bfcl.tasks():
            category = task["id"].removeprefix("multi_turn_").rsplit("_", 1)[0]
            yield {"id": task["id"], "category": category, "turns": len(gold)}

    def worker(self, planner: Planner, horizon: int, tools: ToolAgent, images: Path | None) -> Worker:
        """The planner as an agent that calls the task's functions, turn by turn."""
        steps, known = self.protocol.decoding.max_steps or STEPS, self._tasks
        return lambda items: [play(*known[item["id"]], planner, horizon, steps) for item in items]


def check(task: dict[str, Any], gold: list[list[str]], calls: list[list[list[str]]]) -> bool:
    """Whether the package's checker passes the calls of every turn."""
    if len(calls) != len(gold):
        return False  # upstream: the model was stopped before the last turn
    checker = importlib.import_module(f"{PACKAGE}.eval_checker.multi_turn_eval.multi_turn_checker")
    # Empty steps are no response, as in the package's own decoding.
    decoded = [[[safe(call) for call in step] for step in turn if step] for turn in calls]
    # The package keeps every API object in its module, by this name: a name of its own keeps runs apart.
    name = f"tracer{next(_runs)}"
    try:
        verdict = checker.multi_turn_checker(decoded, gold, task, task["id"].rsplit("_", 1)[0], name)
    finally:
        _forget(name)
    return bool(verdict["valid"])


def _forget(name: str) -> None:
    kept = vars(importlib.import_module(f"{PACKAGE}.eval_checker.multi_turn_eval.multi_turn_utils"))
    for key in [key for key in kept if key.startswith(f"{name}_")]:
        del kept[key]


def play(task: dict[str, Any], gold: Sequence[Any], planner: Planner, horizon: int, steps: int) -> dict[str, Any]:
    """One task, turn by turn, in fresh API objects."""
    session = Session(task)
    native = []
    for index, turn in enumerate(task["question"]):
        said = "\n".join(message["content"] for message in turn) or MORE_FUNCTIONS
        shown = session.described(index)
        calls, _ = converse(said, shown, lambda *call: session.call(*call)[0], planner, horizon, steps)
        native.append([[written_call(action.get("name"), action.tool_arguments)] for action in calls])
    return {"native": native[: len(gold)]}
