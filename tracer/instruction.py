"""Step instructions in words: ``describe`` writes one for an action, ``locate`` finds the element one speaks of.

On every element list the two are inverse: ``locate(describe(click, elements[i], elements), elements) == i``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz import fuzz

from tracer.action import Action
from tracer.trajectory import Element, State, Step

VERBS = {
    "click": "click",
    "double_click": "double-click",
    "triple_click": "triple-click",
    "right_click": "right-click",
    "middle_click": "middle-click",
    "long_press": "long-press",
    "move": "hover over",
}
WORDS = {
    "key": "press {key}",
    "scroll": "scroll {direction}",
    "open_app": "open the app {app}",
    "tool_call": "call {name} with {arguments}",
    "terminate": "stop with {status}",
}
THRESHOLD = 70.0
"""The least similarity (rapidfuzz, 0 to 100) at which an inexact instruction still names an element."""

_REFERENCE = re.compile(r'\bthe (?:(\d+)(?:st|nd|rd|th) )?([^\s"]+) "(.*)"', re.DOTALL)
_QUOTED = re.compile(r'"(.+)"', re.DOTALL)


def describe(action: Action, element: Element | None = None, elements: Sequence[Element] | None = None) -> str:
    """The step instruction of an action, for example ``click the 2nd span "star"`` or ``type "karla"``.

    ``element`` is what the action aims at, where that is known; ``elements`` is the whole screen, which decides
    whether an ordinal is needed. A scroll names the finger's direction, as the action does.
    """
    target = None if element is None else refer(element, elements or (element,))
    if action.type in VERBS:
        return f"{VERBS[action.type]} {target or _place(action.get('x'), action.get('y'))}"
    if action.type == "drag":
        start = target or _place(action.get("x"), action.get("y"))
        return f"drag {start} to {_place(action.get('to_x'), action.get('to_y'))}"
    if action.type in ("type", "select", "answer"):
        into = f" in {target}" if target else ""
        return f'{action.type} "{action.get("text")}"{into}'
    if action.type in WORDS:
        return WORDS[action.type].format_map(dict(action.arguments))
    return action.type.replace("_", " ")


def taken(state: State, action: Action, target: Element | None) -> Step:
    """The step of an action in a state, described; ``target`` is the element that it aims at, where one is known."""
    return Step(
        action=action,
        instruction=describe(action, target, state.elements),
        image=state.image,
        width=state.width,
        height=state.height,
        elements=state.elements,
        target=None if target is None else target.box,
    )


def refer(element: Element, elements: Sequence[Element]) -> str:
    """How to speak of an element of this screen: ``the <ordinal?> <role> "<text>"``.

    The ordinal counts the elements of the same role and text in list order, and appears only where there are several.
    Raises ``ValueError`` for an element that is not of this screen.
    """
    same = [other for other in elements if (other.role, other.text) == (element.role, element.text)]
    # Two elements can be equal in everything, so the object itself comes first.
    place = next((index for index, other in enumerate(same) if other is element), None)
    place = same.index(element) if place is None else place
    ordinal = f"{_ordinal(place + 1)} " if len(same) > 1 else ""
    return f'the {ordinal}{element.role} "{element.text}"'


def locate(instruction: str, elements: Sequence[Element] | None) -> int | None:
    """The index of the element an instruction speaks of, or None.

    An exact match of role, text and ordinal wins; else the most similar text above ``THRESHOLD``.
    """
    if not elements:
        return None
    found = _REFERENCE.search(instruction)
    if found:
        number, role, text = found.groups()
        same = [index for index, element in enumerate(elements) if (element.role, element.text) == (role, text)]
        wanted = int(number) if number else 1
        if 1 <= wanted <= len(same):
            return same[wanted - 1]
    return _most_similar(instruction, elements)


def _most_similar(instruction: str, elements: Sequence[Element]) -> int | None:
    quoted = _QUOTED.search(instruction)
    wanted = (quoted.group(1) if quoted else instruction).lower()
    similarity = fuzz.ratio if quoted else fuzz.token_set_ratio
    words = set(re.findall(r"\w+", instruction.lower()))
    scored = [
        # Among equal texts the named role wins, then the longer text, then the earlier element.
        (similarity(wanted, element.text.lower()), bool(words & set(_words(element.role))), len(element.text), -index)
        for index, element in enumerate(elements)
        if element.text
    ]
    if not scored:
        return None
    score, _, _, negative = max(scored)
    return -negative if score >= THRESHOLD else None


def _words(role: str) -> list[str]:
    return re.findall(r"\w+", role.lower())


def _place(x: float, y: float) -> str:
    return f"at ({round(x * 1000)}, {round(y * 1000)})"


def _ordinal(number: int) -> str:
    if 10 <= number % 100 <= 20:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
