"""The grammar of small models, which point at what is on the screen instead of copying it.

This is how answers are written and read; what the planner is shown is in ``tracer/planner/prompt.py``.

``type $2`` is the goal's second span, ``type @4`` the text of the element numbered 4 in the prompt. A target is named
by role and text, be it on the present screen or not (``click button "Reply"``, ``click span $1``), or by its number
where the name is long or shared: ``click 4``. The step instruction follows from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from tracer.action import COORDINATES, DIRECTIONS, GRAMMAR, STATUSES, Action, ActionError
from tracer.forecast import ForecastError, ForecastStep
from tracer.grammars.reading import TERMINALS, Grammar, line_by_line, one_of
from tracer.instruction import VERBS, describe, refer
from tracer.trajectory import Element, State, centre, element_at

SPAN = re.compile(r'"([^"]*)"|(?<!^)(?<![.!?] )\b(\w*[A-Z]\w*|[a-z]+\d\w*)|(?<![\w"])(-?\d[\d/]*)')
MAX_SPANS = 9
MAX_ELEMENTS = 40
MAX_NAME = 16
CASES: dict[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower}
WRITTEN: dict[str, Callable[[str], str]] = {"": str, **CASES}
TARGETED = ("click", "double_click", "right_click", "long_press", "move")
TEXTUAL = ("type", "select", "answer", "open_app")


@lru_cache(maxsize=4096)
def spans(goal: str) -> tuple[str, ...]:
    """What a goal names and an answer may copy: quoted texts, names and numbers, in order, each once."""
    found = (next(group for group in match.groups() if group is not None) for match in SPAN.finditer(goal))
    return tuple(dict.fromkeys(text for text in found if text))[:MAX_SPANS]


def point_goal(goal: str) -> str:
    """The goal with its spans written as ``$1``, ``$2``, ...: what is asked, without what it is asked of."""
    numbers = {span: number for number, span in enumerate(spans(goal), start=1)}

    def written(match: re.Match[str]) -> str:
        text = next(group for group in match.groups() if group is not None)
        return f"${numbers[text]}" if text in numbers else match[0]

    return SPAN.sub(written, goal)


def point(text: str, goal: str) -> str:
    """A text as the pointing grammar writes it: ``$2`` where it is the goal's second span, else in quotes."""
    for index, span in enumerate(spans(goal), start=1):
        for prefix, case in WRITTEN.items():
            if text == case(span):
                return f"{prefix} ${index}".strip()
    return json.dumps(text, ensure_ascii=False)


class Pointing(Grammar):
    """Lines that point at elements and spans, one per step."""

    def format(self, forecast: Sequence[ForecastStep], state: State) -> str:
        """The text of a forecast made in ``state``."""
        return "\n".join(self._line(step, state, first=index == 0) for index, step in enumerate(forecast))

    def _line(self, step: ForecastStep, state: State, first: bool) -> str:
        action = step.action
        if action.type in TARGETED:
            elements = (state.elements or ())[:MAX_ELEMENTS]
            index = self._number(step, elements, first)
            if index is not None:
                return f"{action.type} {self._name(elements[index], elements, state.goal) or index}"
            text = re.match(rf'{VERBS[action.type]} the ([^"]*)"(.*)"$', step.instruction, re.DOTALL)
            if text is None:  # a place that is not an element: nothing to point at, nothing to name
                return f"{action.type} {self._write(step.instruction, state)}"
            return f"{action.type} {text[1]}{self._write(text[2], state)}"
        if action.type in TEXTUAL:
            return f"{action.type} {self._write(action.get('text', action.get('app')), state)}"
        # The amount of a scroll is no part of the grammar, as it is no part of the reward.
        arguments = [value for name, value in action.arguments if name not in (*COORDINATES, "amount")]
        return " ".join([action.type, *(str(value) for value in arguments)])

    def _number(self, step: ForecastStep, elements: tuple[Element, ...], first: bool) -> int | None:
        """The present screen's element that the step aims at; a later step's may not be there yet."""
        if step.action.point is None:
            return None
        index = element_at(step.action.point, elements)
        if index is None or first:
            return index
        return index if describe(step.action, elements[index], elements) == step.instruction else None

    def _name(self, element: Element, elements: Sequence[Element], goal: str) -> str:
        """Role and text, where they are short and name one element alone; else nothing, and its number serves."""
        written = point(element.text, goal)
        short = not written.startswith('"') or 0 < len(element.text) <= MAX_NAME
        alone = refer(element, elements) == f'the {element.role} "{element.text}"'
        return f"{element.role} {written}" if short and alone else ""

    def _write(self, text: str, state: State) -> str:
        written = point(text, state.goal)
        if not written.startswith('"'):
            return written
        for index, element in enumerate((state.elements or ())[:MAX_ELEMENTS]):
            if text and text == (element.text or element.value):
                return f"@{index}"
        return written

    def lines(self, text: str) -> list[str]:
        """The lines that are not blank; raises ``ForecastError`` where there is none."""
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if not lines:
            raise ForecastError("the text is empty")
        return lines

    def step(self, line: str, state: State) -> ForecastStep:
        """The step of a line; raises ``ForecastError``."""
        kind, _, rest = line.partition(" ")
        elements = (state.elements or ())[:MAX_ELEMENTS]
        if kind not in GRAMMAR:
            raise ForecastError(f"unknown action: {line[:80]!r}")
        if kind in TARGETED and rest.isdecimal():
            element = self._element(rest, elements)
            action = Action.of(kind, **dict(zip(("x", "y"), centre(element.box), strict=True)))
            return ForecastStep(action=action, instruction=describe(action, element, elements))
        if kind in TARGETED:
            role, written = self._split(rest)
            text = self._read(written, state)
            named = [element for element in elements if refer(element, elements) == f'the {role}"{text}"']
            if named:
                action = Action.of(kind, **dict(zip(("x", "y"), centre(named[0].box), strict=True)))
                return ForecastStep(action=action, instruction=describe(action, named[0], elements))
            place = not role and text.startswith(f"{VERBS[kind]} at (")  # what ``_line`` writes for no element
            instruction = text if place else f'{VERBS[kind]} the {role}"{text}"'
            return ForecastStep(action=Action(kind), instruction=instruction)
        argument = self._read(rest, state) if kind in TEXTUAL else rest
        names = [name for name in GRAMMAR[kind][0] + GRAMMAR[kind][1] if name not in COORDINATES]
        try:
            if not rest:
                action = Action.of(kind)
            elif len(names) != 1 and kind != "scroll":
                raise ForecastError(f"{kind!r} is not part of the pointing grammar: {line[:80]!r}")
            else:
                action = Action.of(kind, **{names[0]: float(argument) if names[0] == "seconds" else argument})
        except (ActionError, ValueError) as error:
            raise ForecastError(str(error)) from error
        return ForecastStep(action=action, instruction=describe(action, None, elements))

    def constraint(self, state: State, horizon: int) -> str:
        """The lines that ``step`` reads; the first aims at an element, or at a place, of the present screen."""
        elements = (state.elements or ())[:MAX_ELEMENTS]
        shown = [*map(str, range(len(elements)))]
        shown += [name for element in elements for name in self._names(element, elements, state.goal)]
        places = [rf'"{kind} \"{VERBS[kind]} at (" THOUSANDTH ", " THOUSANDTH ")\""' for kind in TARGETED]
        present = " | ".join([*([f'TARGETED " " {one_of(shown)}'] if shown else []), *places])
        pointers = [f"{case} ${number}".strip() for number, _ in enumerate(spans(state.goal), 1) for case in WRITTEN]
        pointers += [f"@{index}" for index, element in enumerate(elements) if element.text or element.value]
        pointer = f" | {one_of(pointers)}" if pointers else ""
        # One regular expression: rules would be split into lexemes, the longest of which wins over another reading.
        return f"""start: ANSWER
ANSWER: {line_by_line("FIRST", "LATER", horizon)}
FIRST: {present} | OTHER
LATER: {present} | TARGETED " " ROLE? TEXT | OTHER
TARGETED: {one_of(TARGETED)}
OTHER: {" | ".join(_others())}
TEXT: QUOTED{pointer}
NAMED: NAME{pointer}
ROLE: /([0-9]{{1,2}}(st|nd|rd|th) )?[^\\s"@$]{{1,24}} /
KEY: /[!-~]([ -~]{{0,30}}[!-~])?/
{TERMINALS}"""

    def _names(self, element: Element, elements: Sequence[Element], goal: str) -> list[str]:
        """Every way to name an element of the screen by role and text."""
        role = refer(element, elements).removeprefix("the ").removesuffix(f'"{element.text}"')
        written = [json.dumps(element.text, ensure_ascii=False)]
        for number, span in enumerate(spans(goal), start=1):
            written += [f"{prefix} ${number}".strip() for prefix, case in WRITTEN.items() if case(span) == element.text]
        same = [index for index, other in enumerate(elements) if element.text and other.text == element.text]
        return [role + text for text in (*written, *(f"@{index}" for index in same))]

    def _split(self, rest: str) -> tuple[str, str]:
        """``button "Reply"`` or ``span upper $1`` as the role, with its trailing space, and the text."""
        match = re.match(r'(.*?)("|@\d|(?:(?:upper|lower) )?\$\d)', rest)
        if match is None:
            raise ForecastError(f"no target: {rest[:80]!r}")
        return match[1], rest[len(match[1]) :]

    def _read(self, text: str, state: State) -> str:
        words = text.split(" ")
        case = CASES[words.pop(0)] if words[0] in CASES else str
        if len(words) == 1 and re.fullmatch(r"\$\d{1,6}", words[0]):
            index, found = int(words[0][1:]), spans(state.goal)
            if not 1 <= index <= len(found):
                raise ForecastError(f"the goal has no span {text[:80]!r}")
            return case(found[index - 1])
        if case is str and re.fullmatch(r"@\d+", text):
            element = self._element(text[1:], (state.elements or ())[:MAX_ELEMENTS])
            return element.text or element.value
        try:
            literal = json.loads(text)
            json.dumps(literal, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise ForecastError(f"neither a reference nor a quoted text: {text[:80]!r}") from error
        if case is not str or not isinstance(literal, str):
            raise ForecastError(f"neither a reference nor a quoted text: {text[:80]!r}")
        return literal

    def _element(self, digits: str, elements: Sequence[Element]) -> Element:
        index = int(digits) if len(digits) <= 6 else len(elements)
        if index >= len(elements):
            raise ForecastError(f"no element {digits[:20]} on the screen, which lists {len(elements)}")
        return elements[index]


def _others() -> Iterator[str]:
    """The lines without a target, by the arguments of ``GRAMMAR``."""
    arguments = {
        "text": '" " TEXT', "app": '" " NAMED', "key": '" " KEY', "seconds": '(" " NUMBER)?',
        "direction": f'" " {one_of(DIRECTIONS)}', "status": f'" " {one_of(STATUSES)}',
    }  # fmt: skip
    for kind, (required, optional) in GRAMMAR.items():
        names = [name for name in required + optional if name not in (*COORDINATES, "amount")]
        if not set(COORDINATES) & set(required) and len(names) < 2:
            yield " ".join([f'"{kind}"', *(arguments[name] for name in names)])
