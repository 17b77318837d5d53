"""The agent that forecasts and then executes the whole forecast blindly, whatever the screen shows meanwhile."""

from __future__ import annotations

from tracer.agents.agent import Agent, Decision
from tracer.planner.plan import Plan
from tracer.trajectory import State


class Blind(Agent):
    """It asks for another forecast only when the last is used up.

    It thus loses by acting blindly, not by the horizon's end. Only the planner is blind: the tool agent still looks for
    each step's element on the current screen.
    """

    def wants(self, state: State) -> int:
        """A new forecast only once the last one is used up."""
        return 0 if self.left else self.horizon

    def act(self, state: State, plan: Plan | None) -> Decision:
        """Execute the next step of the forecast, whatever the screen shows."""
        return self.execute(self.left, state) if self.left else super().act(state, plan)
