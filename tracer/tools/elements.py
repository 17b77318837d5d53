"""A frozen tool agent that reads the screen's element list: the instruction names an element, the click goes there."""

from __future__ import annotations

from tracer.instruction import locate
from tracer.tools.tool_agent import Locator
from tracer.trajectory import Point, State, centre


class ElementLocator(Locator):
    """Deterministic and without weights."""

    name = "elements"

    def find(self, state: State, instruction: str) -> Point | None:
        """The centre of the element that the instruction names."""
        elements = state.elements or ()
        index = locate(instruction, elements)
        return None if index is None else centre(elements[index].box)
