"""GUI-R1's scoring (protocol P2), which AndroidControl and GUI-Odyssey share.

Its inference script picks action, point and text out of an answer one by one; what it does not find has a default, and
the rest still counts.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracer.action import OPPOSITE
from tracer.scoring.contract import Parts, Unparsable
from tracer.scoring.matching import gui_r1_f1
from tracer.scoring.protocol import BenchmarkProtocol

PLACED = ("click", "long_press", "moveto", "doubleclick", "rightclick")
WRITTEN = ("open_app", "type", "scroll", "select")
NO_TEXT = "no input text"
"""The text of an answer without one."""
ACTION, TEXT = re.compile(r"'action':\s*'(\w+)'"), re.compile(r"'input_text':\s*'(.*?)'")
POINT, LINE = re.compile(r"\[(\d+),\s*(\d+)\]\s*"), re.compile(r"[^\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An action, a point in pixels of the original screenshot, and a text (a scroll's direction, an app's name)."""

    action: str
    point: tuple[float, float] | None = None
    text: str = NO_TEXT

    @classmethod
    def of(cls, value: Any) -> Answer:
        """The answer of ``{"action", "point": [x, y], "input_text"}``; raises ``Unparsable`` for anything else."""
        if not isinstance(value, Mapping) or not isinstance(value.get("action"), str):
            raise Unparsable(f"an object with a string 'action' is needed, not {str(value)[:80]!r}")
        text = value.get("input_text")
        return cls(
            action=value["action"], point=_pair(value.get("point")), text=text if isinstance(text, str) else NO_TEXT
        )

    @classmethod
    def spoken(cls, text: str) -> Answer:
        """What GUI-R1's inference script finds in a model's output, in pixels of the image that the model saw."""
        _, opening, rest = text.partition("<answer>")
        inside, closing, _ = rest.partition("</answer>")
        inside = inside.strip() if opening and closing else ""
        action, written = ACTION.search(inside), TEXT.search(inside)
        return cls(
            action=action[1] if action else "", point=_last_point(inside), text=written[1] if written else NO_TEXT
        )


def _last_point(answer: str) -> tuple[float, float] | None:
    """The last ``[x, y]`` between braces, on the first line that has such a pair; a blank after it may end the line."""
    pairs = deque(POINT.finditer(answer))
    for line in LINE.finditer(answer):
        opening, closing = line[0].find("{") + line.start(), line[0].rfind("}") + line.start()
        here = []
        while pairs and pairs[0].start() < line.end():
            here.append(pairs.popleft())
        for pair in reversed(here if "{" in line[0] else []):
            if pair.end() > line.end():
                end = answer.find("\n", pair.end())
                closing = answer.find("}", pair.end(), end if end >= 0 else None)
            if opening < pair.start() and pair.end() <= closing:
                return _pair([float(pair[1]), float(pair[2])])
            closing = line[0].rfind("}") + line.start()
    return None


def _pair(value: Any) -> tuple[float, float] | None:
    """The first two numbers of a list; None where it does not begin with two."""
    numbers = value[:2] if isinstance(value, list | tuple) else ()
    if len(numbers) < 2 or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        return None
    try:
        pair = float(numbers[0]), float(numbers[1])
    except OverflowError:
        return None
    return pair if all(map(math.isfinite, pair)) else None


def answer_of(prediction: Any, protocol: BenchmarkProtocol, size: tuple[int, int]) -> Answer:
    """A prediction as GUI-R1 has it, in original pixels; raises ``Unparsable``."""
    if prediction.native is not None:
        return Answer.of(prediction.native)
    if prediction.convention == "gui-r1":
        answer = Answer.spoken(prediction.text or "")
        wide, high = prediction.resized or size
        scaled = (answer.point[0] * (size[0] / wide), answer.point[1] * (size[1] / high)) if answer.point else None
        return Answer(action=answer.action, point=scaled, text=answer.text)
    action = prediction.read_action(size)
    name = protocol.name_of(action, action.type)
    text = action.get("text", action.get("app", NO_TEXT))
    if action.type == "scroll":
        text = OPPOSITE[action.get("direction")] if protocol.match["scroll"] == "screen" else action.get("direction")
    point = (action.point[0] * size[0], action.point[1] * size[1]) if action.point else None
    return Answer(action=name, point=point, text=str(text))


def gui_r1_parts(
    ours: Answer | None,
    reference: Answer,
    size: tuple[int, int],
    radius: float,
    text_f1_from: float,
    strict: bool,
) -> Parts:
    """Type, grounding and step of one step.

    Place: ((dx / W)^2 + (dy / H)^2) < radius^2 for placed types; an answer without a point lies at (0, 0) in the
    script, which ``strict`` refuses. Text: F1 >= ``text_f1_from`` for written types. Both regardless of the type
    predicted; a step that is neither is in no denominator but type's.
    """
    placed, written = reference.action in PLACED, reference.action in WRITTEN
    near = False
    point = None if ours is None else ours.point or (None if strict else (0.0, 0.0))
    if placed and point is not None and reference.point is not None:
        across = (reference.point[0] - point[0]) / size[0]
        down = (reference.point[1] - point[1]) / size[1]
        near = across**2 + down**2 < radius**2
    same_text = written and ours is not None and gui_r1_f1(reference.text, ours.text) >= text_f1_from
    return {
        "type": (ours is not None and ours.action == reference.action, 1),
        "grounding": (near, placed),
        "step": (near or same_text, placed or written),
    }
