"""The agent that forecasts one step, executes it and looks again: T = 1, the paper's baseline."""

from __future__ import annotations

from tracer.agents.agent import Agent
from tracer.trajectory import State


class React(Agent):
    """It sees no further than the next step, whatever the horizon."""

    def wants(self, state: State) -> int:
        """One step."""
        return 1
