"""The agent that plans once in words, then takes one step at a time with the plan in its prompt."""

from __future__ import annotations

from dataclasses import replace

from tracer.agents.agent import Agent, Decision
from tracer.planner.plan import Plan
from tracer.trajectory import State


class Cot(Agent):
    """Its first forecast is its plan; from then on it forecasts one step, shown what is left of the plan, and plans
    again when that is used up.

    A planner that was never shown a plan in its prompt, such as one trained by our two stages alone, may be misled.
    """

    plan: tuple[str, ...] = ()

    def wants(self, state: State) -> int:
        """The whole horizon for the plan, then one step."""
        return 1 if self.plan else self.horizon

    def view(self, state: State) -> State:
        """The state with what is left of the plan in its observation."""
        plan = f"plan: {' ; '.join(self.plan)}" if self.plan else ""
        return replace(state, observation="\n".join(filter(None, (state.observation, plan))))

    def act(self, state: State, plan: Plan | None) -> Decision:
        """Execute the first step; the first forecast's other steps become the plan."""
        decision = super().act(state, plan)
        if decision.action is not None:
            self.plan = self.plan[1:] or tuple(step.instruction for step in self.left)
        return decision
