"""The article's pattern in words alone, for a model that follows instructions and was never trained to forecast."""

from __future__ import annotations

from dataclasses import replace

from tracer.agents.agent import Agent, Decision
from tracer.planner.plan import Plan
from tracer.trajectory import State

NEAR = 2
"""Steps that even a model that sees no further may forecast."""
SAYS = "I cannot see further"
REQUEST = f"""\
before you answer, picture what the screen shows after each step, up to the goal. Forecast only steps that you can \
picture. If you cannot see further than {NEAR} steps, write these and then the line: {SAYS}. Only the first step is \
executed; then you look again."""


class Prompted(Agent):
    """It asks for the forecast in the prompt, and takes the model at its word where that sees no further."""

    def view(self, state: State) -> State:
        """The state, with the request in its observation."""
        return replace(state, observation="\n".join(filter(None, (state.observation, REQUEST))))

    def act(self, state: State, plan: Plan | None) -> Decision:
        """Execute the first step. Of a forecast whose planner says that it sees no further, the first two count."""
        if plan is None or not plan.forecast or SAYS.lower() not in plan.text.lower():
            return super().act(state, plan)
        near = replace(plan, forecast=plan.forecast[:NEAR])
        seen = len(near.forecast or ())
        return replace(super().act(state, near), plan=near, note=f"the planner sees no further than {seen} steps")
