"""No tool agent: the planner's own coordinates, as an agent without one executes them."""

from __future__ import annotations

from tracer.action import Action
from tracer.forecast import ForecastStep
from tracer.tools.tool_agent import complete
from tracer.trajectory import State


class OwnCoordinates:
    """An agent without a tool agent."""

    name = "own"

    def ground(self, state: State, step: ForecastStep) -> Action | None:
        """The step's action as it is; None where the planner named a target and gave no place."""
        return complete(step.action)
