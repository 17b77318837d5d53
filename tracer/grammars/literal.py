"""The grammar of large models: JSON lines, coordinates as integers 0 to 1000, each with its step instruction.

    {"action": "click", "x": 512, "y": 80, "step": "click the button \\"Submit\\""}

The integers are Qwen3-VL's convention. ``Reasoned`` is the same after a passage of reasoning. The prompt that asks for
such answers is in tracer/planner/prompt.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tracer.action import COORDINATES, DIRECTIONS, GRAMMAR, LARGEST, STATUSES, Action, ActionError
from tracer.forecast import SCALE, ForecastError, ForecastStep
from tracer.grammars.reading import TERMINALS, Grammar, line_by_line, one_of
from tracer.trajectory import State

THOUGHT = "</think>"
COMMA = '", "'
OBJECT = {
    "type": "object",
    "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},  # as ``format`` writes
}


class Literal(Grammar):
    """JSON lines, one per step."""

    def format(self, forecast: Sequence[ForecastStep], state: State) -> str:
        """The text of a forecast."""
        return "\n".join(json.dumps(self._line(step), ensure_ascii=False) for step in forecast)

    def _line(self, step: ForecastStep) -> dict[str, object]:
        line = step.action.to_dict()
        line = {"action": line.pop("type"), **line}
        for name in COORDINATES:
            if name in line:
                line[name] = round(line[name] * SCALE)
        return {**line, "step": step.instruction}

    def constraint(self, state: State, horizon: int) -> str:
        """Objects as ``format`` writes them, for every action; all places of the screen are on it."""
        return f"""start: {line_by_line("line", "line", horizon)}
line: {" | ".join(map(_object, GRAMMAR))}
{TERMINALS}"""

    def lines(self, text: str) -> list[str]:
        """The lines that begin like an object: words around them are no part of the forecast."""
        lines = text.split("\n")  # splitlines would split texts at U+2028 and the like
        lines = [line.strip().removesuffix(",") for line in lines if line.strip().startswith("{")]
        if not lines:
            raise ForecastError("no line holds a JSON object")
        return lines

    def step(self, line: str, state: State) -> ForecastStep:
        """The step of a JSON object; raises ``ForecastError``."""
        try:
            fields = json.loads(line)
            json.dumps(fields, ensure_ascii=False).encode()  # refuses half a surrogate pair, which no file can hold
        except (ValueError, RecursionError) as error:
            raise ForecastError(f"not a JSON object: {line[:80]!r}") from error
        instruction, kind = fields.pop("step", None), fields.pop("action", None)
        if not isinstance(instruction, str) or not isinstance(kind, str):
            raise ForecastError(f"'action' and 'step' have to be strings: {line[:80]!r}")
        for name in COORDINATES:
            value = fields.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
                fields[name] = value / SCALE
        try:
            return ForecastStep(action=Action.from_json({**fields, "type": kind}), instruction=instruction)
        except ActionError as error:
            raise ForecastError(str(error)) from error


class Reasoned(Literal):
    """JSON lines after a passage of reasoning."""

    def format(self, forecast: Sequence[ForecastStep], state: State) -> str:
        """The text of a forecast, with an empty reasoning."""
        return f"{THOUGHT}\n\n{super().format(forecast, state)}"

    def lines(self, text: str) -> list[str]:
        """The lines after the reasoning; raises ``ForecastError``, also where the reasoning does not end."""
        _, ended, answer = text.rpartition(THOUGHT)
        if not ended:  # cut off: a step drafted on the way is not what the planner settled on
            raise ForecastError("the reasoning does not end")
        return super().lines(answer)

    def constraint(self, state: State, horizon: int) -> str:
        """Any passage up to the first mark of its end, and then what ``Literal`` allows."""
        steps = super().constraint(state, horizon).removeprefix("start: ")
        return f'start: thought "\\n"* {steps}thought[suffix="{THOUGHT}"]: /(?s:.*)/\n'


def _object(kind: str) -> str:
    """The Lark expression of an action's object."""
    required, optional = GRAMMAR[kind]
    fields = [_field("action", f'"\\"{kind}\\""'), *(_field(name) for name in required)]
    if "x" in optional:  # both or neither
        fields += [f"({_field('x')} {_field('y')})?"]
    fields += [f"({_field(name)})?" for name in optional if name not in COORDINATES]
    return f'"{{" {" ".join([*fields, _field("step", "QUOTED")]).removeprefix(COMMA)} "}}"'


def _field(name: str, value: str = "") -> str:
    values = {
        **dict.fromkeys(COORDINATES, "THOUSANDTH"), **dict.fromkeys(("amount", "seconds"), "NUMBER"),
        **dict.fromkeys(("key", "name", "app"), "NAME"), "direction": one_of(map(json.dumps, DIRECTIONS)),
        "status": one_of(map(json.dumps, STATUSES)), "arguments": f"%json {json.dumps(OBJECT)}", "text": "QUOTED",
    }  # fmt: skip
    return rf'{COMMA} "\"{name}\": " {value or values[name]}'
