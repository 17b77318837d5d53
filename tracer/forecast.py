"""A forecast: the steps per planner expects to take from a state on, the first of which is executed.

``tracer.grammars`` says how one is written as text.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracer.action import Action
from tracer.trajectory import Box, Trajectory

MAX_HORIZON = 10
SCALE = 1000  # prompts and answers show coordinates as integers 0 to SCALE


class ForecastError(ValueError):
    """A text that is not a forecast in its grammar: counted and shown as unparsable, never repaired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastStep:
    """One step of a forecast. A click without a point is one whose target is not on the present screen."""

    action: Action
    instruction: str
    target: Box | None = None
    """The target's box; only a reference knows it."""


Forecast = tuple[ForecastStep, ...]


def reference(trajectory: Trajectory, index: int, horizon: int) -> Forecast:
    """What was really done from step ``index`` on, ``horizon`` steps at most: the reference a forecast is held to."""
    return tuple(
        ForecastStep(action=step.action, instruction=step.instruction, target=step.target)
        for step in trajectory.steps[index : index + horizon]
    )
