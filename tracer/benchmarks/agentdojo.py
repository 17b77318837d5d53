"""AgentDojo: 97 user tasks in four simulated workplaces, judged by each task's own utility checker.

Needs the package ``agentdojo`` (extra ``bench``). A prediction is the calls an agent made and what it finally said;
the calls are replayed in a fresh environment, which is then compared with the one before. No injections: utility only.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tracer.planner.plan import Planner
from tracer.scoring.contract import (
    Benchmark,
    BenchmarkError,
    Outcome,
    Part,
    PredictionRow,
    Row,
    Unparsable,
    Worker,
)
from tracer.scoring.drivers import STEPS, converse
from tracer.tools import agentdojo
from tracer.tools.agentdojo import PACKAGE, Session
from tracer.tools.tool_agent import ToolAgent

MOST_CALLS = 200


class Item(Row):
    """One user task. ``id`` is ``<suite>/<task>``."""

    suite: Literal["workspace", "travel", "banking", "slack"]
    task: str
    goal: str


class Call(Part):
    """One call of a tool."""

    function: str
    args: dict[str, Any] = Field(default_factory=dict)


class Run(Part):
    """What an agent did: its calls in order, and its final words."""

    calls: list[Call] = Field(default_factory=list)
    answer: str = ""


class Prediction(PredictionRow):
    """The calls that an agent made, as AgentDojo's own runner records them."""

    native: Run | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["utility"]
    suites: str
    """The version of the suites."""


class AgentDojo(Benchmark):
    """User tasks."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    @cached_property
    def _suites(self) -> dict[str, Any]:
        return agentdojo.suites(self.match.suites)

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one task. Raises ``Unparsable``."""
        useful = False
        if prediction is not None:
            run = prediction.required("the calls and the answer")
            if len(run.calls) > MOST_CALLS:
                raise Unparsable(f"{len(run.calls)} calls; at most {MOST_CALLS} are replayed")
            suite = self._suites[item.suite]
            if item.task not in suite.user_tasks:
                raise BenchmarkError(
                    f"agentdojo {self.match.suites} has no {item.id}; leave --items out to take its own"
                )
            useful = utility(suite, item.task, run)
        return Outcome(
            parts={"utility": (useful, 1)}, cluster=item.id, stratum=item.suite, groups=(f"suite={item.suite}",)
        )

    def own_items(self) -> Iterator[dict[str, Any]]:
        """The user tasks of the protocol's version."""
        for name, suite in self._suites.items():
            for key, task in suite.user_tasks.items():
                yield {"id": f"{name}/{key}", "suite": name, "task": key, "goal": task.PROMPT}

    def worker(self, planner: Planner, horizon: int, tools: ToolAgent, images: Path | None) -> Worker:
        """The planner as an agent that calls the suite's tools until it answers."""
        steps = self.protocol.decoding.max_steps or STEPS
        return lambda items: [play(item, self._suites, planner, horizon, steps) for item in items]


def utility(suite: Any, task: str, run: Run) -> bool:
    """Replay the calls, and ask the task's checker about what changed and what was said."""
    made = importlib.import_module(f"{PACKAGE}.functions_runtime").FunctionCall
    session = Session(suite, task)
    before = session.environment.model_copy(deep=True)
    trace = []
    for call in run.calls:
        # A failing call returns its error to the agent and changes nothing, upstream as here.
        session.call(call.function, call.args)
        trace.append(made(function=call.function, args=call.args))
    by_trace = session.task.utility_from_traces(run.answer, before, session.environment, trace)
    return bool(by_trace if by_trace is not None else session.task.utility(run.answer, before, session.environment))


def play(
    item: Mapping[str, Any], suites: Mapping[str, Any], planner: Planner, horizon: int, steps: int
) -> dict[str, Any]:
    """One user task in a fresh environment."""
    session = Session(suites[item["suite"]], item["task"])
    shown = session.described()
    calls, answer = converse(item["goal"], shown, lambda *call: session.call(*call)[0], planner, horizon, steps)
    made = [{"function": action.get("name"), "args": action.tool_arguments} for action in calls]
    return {"native": {"calls": made, "answer": answer}}
