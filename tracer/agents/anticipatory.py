"""The paper's agent: forecast T steps, execute the first, look, forecast again."""

from __future__ import annotations

from tracer.agents.agent import Agent


class Anticipatory(Agent):
    """The strategy that every ``Agent`` follows unless it overrides it."""
