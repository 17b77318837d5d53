"""OS-Atlas's action lines, and its two matching scripts: one for AndroidControl, another for GUI-Odyssey.

A line is ``CLICK <point>[[x,y]]</point>`` (0 to 1000), ``TYPE [text]``, ``SCROLL [UP]``, ``OPEN_APP [name]``,
``PRESS_BACK``, ``PRESS_HOME``, ``PRESS_RECENT``, ``WAIT``, ``COMPLETE``. The scripts compare lines as texts, so lines
are what is compared here too.
"""

from __future__ import annotations

import math
from typing import Any

from tracer.action import OPPOSITE, Action
from tracer.scoring.contract import Unparsable
from tracer.scoring.matching import integers, token_f1
from tracer.scoring.protocol import BenchmarkProtocol

NOWHERE = (-100, -100)
STRIPPED = "<|im_end|>"
"""The scripts strip these characters, not this token, from both ends of a line."""


def point_line(name: str, x: float, y: float) -> str:
    """An action line with a point, in OS-Atlas's 0 to 1000."""
    return f"{name} <point>[[{round(x * 1000)},{round(y * 1000)}]]</point>"


def line(prediction: Any, protocol: BenchmarkProtocol, size: tuple[int, int]) -> str:
    """A prediction's action line; raises ``Unparsable``."""
    if prediction.native is not None:
        if not isinstance(prediction.native, str) or not prediction.native.strip():
            raise Unparsable(f"an action line is needed, not {str(prediction.native)[:80]!r}")
        return str(prediction.native).strip(STRIPPED)
    if prediction.convention == "os-atlas":
        return from_answer(prediction.text or "")
    return from_action(prediction.read_action(size), protocol)


def from_answer(text: str) -> str:
    """The action line of a model's answer, which follows ``actions:`` on a line of its own; raises ``Unparsable``."""
    _, marker, rest = text.partition("actions:\n")
    found = rest.partition("actions:\n")[0].strip(STRIPPED)
    if not marker or not found.strip():
        raise Unparsable(f"no line after 'actions:': {text[:80]!r}")
    return found


def from_action(action: Action, protocol: BenchmarkProtocol) -> str:
    """Our action as a line, named by the protocol's action map; a type it lacks keeps its own name."""
    name = protocol.name_of(action, action.type.upper())
    if action.type in ("click", "long_press") and action.point:
        return point_line(name, *action.point)
    if action.type == "scroll":
        finger = action.get("direction")
        word = OPPOSITE[finger] if protocol.match["scroll"] == "screen" else finger
        return f"{name} [{word.upper()}]"
    text = action.get("text", action.get("app")) if action.type in ("type", "open_app") else None
    return name if text is None else f"{name} [{text}]"


def distance(ours: tuple[int, int], theirs: tuple[int, int]) -> float:
    """The distance of two points in the units they are given in."""
    return math.sqrt((ours[0] - theirs[0]) ** 2 + (ours[1] - theirs[1]) ** 2)


def android_control_match(ours: str, reference: str, radius: float, text_f1_above: float) -> bool:
    """Whether a line of the reference's type is right by OS-Atlas's AndroidControl script.

    Clicks: the first two integers of each line, at most ``radius`` apart. Texts and apps: the same line, or an F1 of
    the *second words* above the threshold, so only a text's first word counts. All else: the same line.
    """
    kind = reference.split()[0]
    if kind in ("CLICK", "LONG_PRESS"):
        numbers, wanted = integers(ours), integers(reference)
        place = (numbers[0], numbers[1]) if len(numbers) > 1 else NOWHERE
        return distance(place, (wanted[0], wanted[1])) <= radius
    if ours == reference:
        return True
    if kind not in ("OPEN_APP", "TYPE"):
        return False
    words, wanted_words = ours.split(), reference.split()
    if len(words) < 2 or len(wanted_words) < 2:
        return False
    return token_f1(words[1], wanted_words[1]) > text_f1_above


def odyssey_match(ours: str, reference: str, radius: float, text_f1_above: float, strict: bool) -> bool:
    """Whether a line of the reference's type is right by OS-Atlas's GUI-Odyssey script.

    Clicks: exactly two integers, at most ``radius`` apart; a line without them lies at (0, 0) in the script, which
    ``strict`` refuses. Texts: F1 of the whole lines, the word TYPE included. Scrolls: the same line. All else: right.
    """
    kind = reference.split(" ")[0]
    if kind in ("CLICK", "LONG_PRESS"):
        numbers, wanted = integers(ours), integers(reference)
        if len(numbers) != 2 and strict:
            return False
        place = (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
        return distance(place, (wanted[0], wanted[1])) <= radius
    if kind == "TYPE":
        return token_f1(ours, reference) > text_f1_above
    return ours == reference if kind == "SCROLL" else True
