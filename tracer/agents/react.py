"""The reactive agent: it forecasts one step, executes it and looks again. T = 1, the paper's baseline."""

from __future__ import annotations

from tracer.agents.agent import Decision, execute, steps_of
from tracer.planner.plan import Plan
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import State


class React:
    name = "reactive"

    def __init__(self, tools: ToolAgent) -> None:
        self._tools = tools

    def wants(self, state: State) -> int:
        return 1

    def act(self, state: State, plan: Plan | None) -> Decision:
        steps = steps_of(plan)
        return steps if isinstance(steps, Decision) else execute(steps[0], state, self._tools, plan)
