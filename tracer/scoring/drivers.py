"""How a planner answers the items of a benchmark: what benchmarks share of it.

A step on a screen is one forecast, of which the first step counts. Tasks with tools are played: the forecast's first
step is executed, what it returned is observed, and the planner forecasts again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.action import Action
from tracer.planner.plan import Planner
from tracer.scoring.contract import Benchmark, BenchmarkError, Worker
from tracer.scoring.run import Row
from tracer.tools.execution import observed
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import Element, State

UNPARSABLE: Row = {"action": {}}
"""A prediction without an action: a counted failure."""
STEPS = 20
"""Of a played task, where its protocol names no other number."""


class ScreenBenchmark(Benchmark):
    """A benchmark whose items are single screens: the planner forecasts from each."""

    def worker(self, planner: Planner, horizon: int, tools: ToolAgent, images: Path | None) -> Worker:
        """The first step of a forecast per screen, grounded by the tool agent."""

        def answer(items: Sequence[Row]) -> list[Row]:
            states = [screen_state(item, images) for item in items]
            rows = []
            for state, plan in zip(states, planner.forecast(states, horizon), strict=True):
                action = tools.ground(state, plan.forecast[0]) if plan.forecast else None
                rows.append({"action": action.to_dict()} if action is not None else dict(UNPARSABLE))
            return rows

        return answer


def screen_state(item: Mapping[str, Any], images: Path | None) -> State:
    """What the planner sees of an item: the goal (and the Low level's step instruction), screenshot, elements."""
    width, height = item.get("width", 0), item.get("height", 0)
    goal = f"{item['goal']}\n{item['instruction']}" if item.get("instruction") else item["goal"]
    return State(
        goal=goal,
        image=_image(item, images),
        width=width,
        height=height,
        elements=tuple(_element(node, width, height) for node in item.get("nodes", [])) or None,
        history=tuple(item.get("history", [])),
    )


def _image(item: Mapping[str, Any], images: Path | None) -> bytes | None:
    if images is None or not item.get("image"):
        return None
    path = (images / item["image"]).resolve()
    if not path.is_relative_to(images.resolve()):
        raise BenchmarkError(f"item {item['id']}: the image {item['image']!r} is outside {images}")
    return path.read_bytes()


def _element(node: Mapping[str, Any], width: int, height: int) -> Element:
    left, top, right, bottom = node["box"]
    box = tuple(min(1.0, max(0.0, v)) for v in (left / width, top / height, right / width, bottom / height))
    return Element(role="node", text=node["text"] or node["description"], box=(box[0], box[1], box[2], box[3]))


Tool = Callable[[str, Mapping[str, Any]], str]


def converse(
    goal: str, tools_text: str, tool: Tool, planner: Planner, horizon: int, steps: int
) -> tuple[list[Action], str]:
    """Forecast, execute the first step, observe, forecast again, until an answer: the calls made and the answer."""
    calls: list[Action] = []
    history: list[str] = []
    observation = tools_text
    for _ in range(steps):
        state = State(goal=goal, history=tuple(history), observation=observation)
        (plan,) = planner.forecast([state], horizon)
        if not plan.forecast:
            return calls, ""
        step = plan.forecast[0]
        if step.action.type != "tool_call":
            return calls, str(step.action.get("text", ""))
        calls.append(step.action)
        history.append(step.instruction)
        observation = observed(tool(step.action.get("name"), step.action.tool_arguments), tools_text)
    return calls, ""
