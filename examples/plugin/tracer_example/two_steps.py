"""An agent: it forecasts, executes the first two steps, and forecasts again."""

from __future__ import annotations

from tracer.agents.agent import Agent, Decision
from tracer.planner.plan import Plan
from tracer.trajectory import State


class TwoSteps(Agent):
    """Half the planner's calls of the anticipatory agent, at the price of one blind step in two."""

    def wants(self, state: State) -> int:
        return 0 if self.left else self.horizon

    def act(self, state: State, plan: Plan | None) -> Decision:
        second = self.left
        decision = self.execute(second, state) if second else super().act(state, plan)
        self.left = () if second else self.left[:1]
        return decision
