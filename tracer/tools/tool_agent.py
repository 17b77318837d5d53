"""What a tool agent is, and how a place that it finds completes a step."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Protocol

from tracer.action import GRAMMAR, Action
from tracer.forecast import SCALE, ForecastStep
from tracer.trajectory import Point, State

_STATED = re.compile(r"\bat \((\d+), (\d+)\)")


class ToolAgent(Protocol):
    """Turns a step into something that can be executed on the state's screen.

    A tool agent is a class without arguments, registered as an entry point of the group ``tracer.tools``; one with a
    class method ``of`` is made from the section ``grounding``. It is frozen: the same state and step give the same
    action. Weights are loaded on the first screen, not in ``__init__``. One that has ``together`` is called by as many
    threads.
    One that finds places on a screen is a ``Locator``.
    """

    name: str
    """The name that it is registered under."""

    def ground(self, state: State, step: ForecastStep) -> Action | None:
        """The action to execute, or None where the agent finds nothing that the step could mean."""


class Locator(ABC):
    """A tool agent that finds places. It never looks at the coordinates that the planner gave."""

    name: str

    @abstractmethod
    def find(self, state: State, instruction: str) -> Point | None:
        """Where on the screen the instruction asks to act, in fractions of it; None where it finds nothing."""

    def ground(self, state: State, step: ForecastStep) -> Action | None:
        """The step at the place that its instruction states or that is found; one that needs no place, as it is."""
        if not needs_place(step):
            return complete(step.action)
        point = stated_place(step.instruction) or self.find(state, step.instruction)
        return None if point is None else place(step.action, point)


def needs_place(step: ForecastStep) -> bool:
    """Whether the step's action acts at a place (a click does; typing goes to the focused field)."""
    return "x" in GRAMMAR[step.action.type][0]


def complete(action: Action) -> Action | None:
    """The action if it has every argument that its type requires, else None.

    A forecast may name a target that is not on its screen; such an action has no place.
    """
    given = dict(action.arguments)
    return action if all(name in given for name in GRAMMAR[action.type][0]) else None


def place(action: Action, point: Point) -> Action | None:
    """The action at a place, or None where another required argument (a drag's end) is missing too."""
    others = tuple(pair for pair in action.arguments if pair[0] not in ("x", "y"))
    return complete(Action(action.type, (("x", point[0]), ("y", point[1]), *others)))


def stated_place(instruction: str) -> Point | None:
    """The place that an instruction such as ``click at (512, 80)`` states itself, in fractions of the screen."""
    found = _STATED.search(instruction)
    if found is None or '"' in instruction[: found.start()]:
        return None
    x, y = int(found[1]) / SCALE, int(found[2]) / SCALE
    return (x, y) if x <= 1 and y <= 1 else None
