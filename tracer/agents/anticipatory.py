"""The paper's agent: forecast T steps, execute the first, look, forecast again."""

from __future__ import annotations

from tracer.agents.agent import Decision, execute, steps_of
from tracer.agents.consistency import Taken, objection
from tracer.forecast import Forecast
from tracer.planner.plan import Plan
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import State


class Anticipatory:
    """With ``check`` it executes the forecast's first step that nothing speaks against (``consistency.objection``).

    A greedy planner asked again in the same state answers the same, so a refused step is skipped rather than asked
    for once more; where every step is refused, the first is executed as the protocol has it. Off by default.
    """

    name = "anticipatory"

    def __init__(self, tools: ToolAgent, horizon: int, *, check: bool = False) -> None:
        self._tools = tools
        self._horizon = horizon
        self._check = check
        self._taken: list[Taken] = []
        self.skipped: list[str] = []
        """Why steps were skipped, in order."""

    def wants(self, state: State) -> int:
        return self._horizon

    def act(self, state: State, plan: Plan | None) -> Decision:
        steps = steps_of(plan)
        if isinstance(steps, Decision):
            return steps
        chosen = self._unobjectionable(steps, state) if self._check else 0
        self._taken.append(Taken(step=steps[chosen], elements=state.elements))
        return execute(steps[chosen], state, self._tools, plan)

    def _unobjectionable(self, steps: Forecast, state: State) -> int:
        objections = [objection(step, state, self._taken, self._tools) for step in steps]
        first = objections.index("") if "" in objections else 0
        self.skipped += objections[:first]
        return first
