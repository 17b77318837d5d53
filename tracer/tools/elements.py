"""A frozen tool agent that reads the screen's element list: the instruction names an element, the click goes there."""

from __future__ import annotations

from tracer.action import Action
from tracer.forecast import ForecastStep
from tracer.instruction import locate
from tracer.tools.tool_agent import complete, needs_place, place, stated_place
from tracer.trajectory import State, centre


class ElementLocator:
    """Deterministic and without weights. It never looks at the coordinates that the planner gave."""

    name = "elements"

    def ground(self, state: State, step: ForecastStep) -> Action | None:
        """The step with the centre of the element that its instruction names."""
        if not needs_place(step):
            return complete(step.action)
        point = stated_place(step.instruction)
        if point is None:
            index = locate(step.instruction, state.elements)
            point = None if index is None else centre(state.elements[index].box)  # type: ignore[index]
        return None if point is None else place(step.action, point)
