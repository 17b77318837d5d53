"""The agent that forecasts and then executes the whole forecast blindly, whatever the screen shows meanwhile."""

from __future__ import annotations

from tracer.agents.agent import Decision, execute, steps_of
from tracer.forecast import Forecast
from tracer.planner.plan import Plan
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import State


class PlanOnce:
    """With ``again`` it asks for another forecast when the first is used up; without, it stops there.

    With ``again``, a task of more than T steps is not lost by the horizon alone: the fairer baseline. Blind is the
    planner: the tool agent still looks for each step's element on the screen of the moment.
    """

    name = "plan_once"

    def __init__(self, tools: ToolAgent, horizon: int, *, again: bool = False) -> None:
        self._tools = tools
        self._horizon = horizon
        self._again = again
        self._left: Forecast | None = None

    def wants(self, state: State) -> int:
        return self._horizon if self._left is None or (self._again and not self._left) else 0

    def act(self, state: State, plan: Plan | None) -> Decision:
        if self.wants(state):
            steps = steps_of(plan)
            if isinstance(steps, Decision):
                return steps
            self._left = steps
        if not self._left:
            return Decision(action=None, reason="the forecast is used up")
        step, self._left = self._left[0], self._left[1:]
        return execute(step, state, self._tools, plan)
