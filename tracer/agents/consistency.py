"""Whether a forecast's step makes sense before it is executed: no loop, no repeated failure, no missing target.

Ours, not the paper's: its protocol executes the first step unchecked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracer.forecast import ForecastStep
from tracer.reward import sameness
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import Element, State

SAME = 0.999
"""The sameness from which two steps count as one and the same."""
CYCLES = 3
"""How often a sequence of steps has to come round, the step in question included, before it counts as a loop."""
LONGEST_CYCLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step that was executed, and the elements of the screen it was executed on."""

    step: ForecastStep
    elements: tuple[Element, ...] | None


def objection(step: ForecastStep, state: State, taken: Sequence[Taken], tools: ToolAgent) -> str:
    """Why the step should not be executed in this state after the steps ``taken``; empty where nothing speaks against.

    Checked in this order: the screen has no place for it; it repeats the last step although that changed nothing;
    it closes a cycle of at most ``LONGEST_CYCLE`` steps for the ``CYCLES``-th time.
    """
    if tools.ground(state, step) is None:
        return "the screen does not show its target"
    if taken and state.elements is not None and _same(taken[-1].step, step) and taken[-1].elements == state.elements:
        return "it repeats the last step, which changed nothing"
    steps = [*(past.step for past in taken), step]
    for length in range(1, LONGEST_CYCLE + 1):
        last = steps[-length * CYCLES :]
        cyclic = len(last) == length * CYCLES and all(_same(a, b) for a, b in zip(last, last[length:], strict=False))
        # Clicking "next" again and again gets somewhere: a cycle is a loop only where the screen comes round as well.
        if cyclic and state.elements is not None and state.elements == taken[-length].elements:
            return f"it closes a loop of {length} step{'s' if length > 1 else ''}"
    return ""


def _same(step: ForecastStep, other: ForecastStep) -> bool:
    return sameness(step, other) >= SAME
