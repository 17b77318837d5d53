"""GUI-R1's scoring (protocol P2), which AndroidControl and GUI-Odyssey share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracer.scoring.contract import Parts, Unparsable
from tracer.scoring.conventions import OPPOSITE, ConventionError, gui_r1_answer
from tracer.scoring.matching import gui_r1_f1
from tracer.scoring.protocol import BenchmarkProtocol

PLACED = ("click", "long_press", "moveto", "doubleclick", "rightclick")
WRITTEN = ("open_app", "type", "scroll", "select")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An action, a point in pixels of the original screenshot, and a text (a scroll's direction, an app's name)."""

    action: str
    point: tuple[float, float] | None = None
    text: str = ""

    @classmethod
    def of(cls, value: Any) -> Answer:
        """The answer of ``{"action", "point": [x, y], "input_text"}``; raises ``Unparsable``."""
        if not isinstance(value, Mapping) or not isinstance(value.get("action"), str):
            raise Unparsable(f"an object with a string 'action' is needed, not {str(value)[:80]!r}")
        point, text = value.get("point"), value.get("input_text", "")
        if not isinstance(text, str):
            raise Unparsable(f"'input_text' has to be a string, not {str(text)[:80]!r}")
        return cls(action=value["action"], point=None if point is None else _pair(point), text=text)


def _pair(value: Any) -> tuple[float, float]:
    numbers = value[:2] if isinstance(value, list | tuple) else ()
    good = [
        number
        for number in numbers
        if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    ]
    if len(good) != 2:
        raise Unparsable(f"'point' has to be a pair of numbers, not {str(value)[:80]!r}")
    return float(good[0]), float(good[1])


def answer_of(prediction: Any, protocol: BenchmarkProtocol, size: tuple[int, int]) -> Answer:
    """A prediction as GUI-R1 has it, in original pixels; raises ``Unparsable``."""
    if prediction.native is not None:
        return Answer.of(prediction.native)
    if prediction.convention == "gui-r1":
        try:
            answer = Answer.of(gui_r1_answer(prediction.text or ""))
        except ConventionError as error:
            raise Unparsable(str(error)) from error
        wide, high = prediction.resized or size
        scaled = (answer.point[0] * size[0] / wide, answer.point[1] * size[1] / high) if answer.point else None
        return Answer(action=answer.action, point=scaled, text=answer.text)
    action = prediction.read_action(size)
    name = protocol.name_of(action, action.type)
    text = action.get("text", action.get("app", ""))
    if action.type == "scroll":
        text = OPPOSITE[action.get("direction")] if protocol.match["scroll"] == "screen" else action.get("direction")
    point = (action.point[0] * size[0], action.point[1] * size[1]) if action.point else None
    return Answer(action=name, point=point, text=str(text))


def gui_r1_parts(
    ours: Answer | None, reference: Answer, size: tuple[int, int], radius: float, text_f1_from: float
) -> Parts:
    """Type, grounding and step of one step.

    Place: ((dx / W)^2 + (dy / H)^2) < radius^2 for placed types. Text: F1 >= ``text_f1_from`` for written types. Both
    regardless of the type predicted; a step that is neither is in no denominator but type's.
    """
    placed, written = reference.action in PLACED, reference.action in WRITTEN
    near = False
    if placed and ours is not None and ours.point is not None and reference.point is not None:
        across = (reference.point[0] - ours.point[0]) / size[0]
        down = (reference.point[1] - ours.point[1]) / size[1]
        near = across**2 + down**2 < radius**2
    same_text = written and ours is not None and gui_r1_f1(reference.text, ours.text) >= text_f1_from
    return {
        "type": (ours is not None and ours.action == reference.action, 1),
        "grounding": (near, placed),
        "step": (near or same_text, placed or written),
    }
