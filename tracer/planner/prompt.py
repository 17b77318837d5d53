"""What a planner is shown of a state: the prompt, one for each grammar."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tracer.forecast import SCALE
from tracer.grammars.grammar import grammar
from tracer.grammars.pointing import MAX_ELEMENTS, point, point_goal, spans
from tracer.planner.escape import control_tokens, escaped
from tracer.planner.plan import PlannerSettings
from tracer.trajectory import Element, State, centre

LITERAL = """\
You operate a screen, or tools, to reach a goal. Forecast the next steps, at most {horizon}, one JSON object a line, \
nothing else. Each has "action", the action's arguments, and "step", which says in words what the step does. \
Coordinates are integers from 0 to {scale}, x to the right and y downwards. Actions: click, double_click, right_click, \
long_press, move (x, y); drag (x, y, to_x, to_y); scroll (direction: the finger's); type (text); key (key); \
select (text); open_app (app); navigate_back; navigate_home; wait; tool_call (name, arguments); answer (text); \
terminate (status: success or failure).
"""


def prompt(state: State, settings: PlannerSettings, tokens: Iterable[str] = ()) -> str:
    """The text of the prompt, without the image and the chat template, and without control tokens.

    ``tokens``: those of the planner's own tokenizer (``escape.control_tokens``), beside the published ones.
    """
    return escaped((pointing_prompt if settings.grammar == "pointing" else literal_prompt)(state, settings), tokens)


def pointing_prompt(state: State, settings: PlannerSettings) -> str:
    """Short, for a small model: elements and the goal's spans are numbered, and prompt and answer point at them."""
    lines = [f"goal {point_goal(state.goal)}"]
    lines += [f"${number} {span}" for number, span in enumerate(spans(state.goal), start=1)]
    lines += ["history " + " ; ".join(_pointed(step, state.goal) for step in _recent(state, settings))]
    if state.observation:
        lines.append(f"observation {state.observation}")
    elements = (state.elements or ())[:MAX_ELEMENTS]
    for index, element in enumerate(elements):
        value = f" = {point(element.value, state.goal)}" if element.value else ""
        # The number follows what it names: copying what came after an earlier match is what attention learns first.
        lines.append(f"{element.role} {point(element.text, state.goal)} {index}{value} {element.state}".rstrip())
    return "\n".join(lines) + "\n"


def literal_prompt(state: State, settings: PlannerSettings) -> str:
    """The prompt of the grammars ``literal`` and ``reasoned``: rules, goal, past steps and elements."""
    lines = [LITERAL.format(horizon=settings.horizon, scale=SCALE), f"Goal: {state.goal}"]
    lines += ["Steps so far: " + ("; ".join(_recent(state, settings)) or "none")]
    if state.observation:
        lines.append(f"Observation: {state.observation}")
    if state.elements:
        lines.append("Elements of the screen, each with its centre:")
        lines += [f"- {_named(element)} at {_centre(element)}" for element in state.elements[:MAX_ELEMENTS]]
    return "\n".join(lines) + "\n"


def messages(state: State, settings: PlannerSettings, tokens: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The prompt as a conversation; the image, if the planner sees one, is a placeholder for the processor."""
    text = prompt(state, settings, tokens)
    if not settings.image:  # a language model's template joins strings
        return [{"role": "user", "content": text}]
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]


def chat(processor: Any, state: State, settings: PlannerSettings) -> str:
    """The prompt in the chat template of a processor or tokenizer, up to where the answer begins."""
    conversation = messages(state, settings, control_tokens(processor))
    return str(processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))


def answer(forecast: Any, state: State, settings: PlannerSettings, tokens: Iterable[str] = ()) -> str:
    """The text a planner should have answered with, without control tokens but those of the grammar itself."""
    rules = grammar(settings.grammar)
    opening = rules.format((), state)
    return opening + escaped(rules.format(forecast, state).removeprefix(opening), tokens)


def _recent(state: State, settings: PlannerSettings) -> tuple[str, ...]:
    return state.history[-settings.history :] if settings.history else ()


def _pointed(instruction: str, goal: str) -> str:
    return re.sub(r'"(.*)"', lambda found: point(found[1], goal), instruction.replace(" the ", " "), flags=re.DOTALL)


def _named(element: Element) -> str:
    value = f' = "{element.value}"' if element.value else ""
    return f'{element.role} "{element.text}"{value} {element.state}'.rstrip()


def _centre(element: Element) -> str:
    x, y = centre(element.box)
    return f"({round(x * SCALE)}, {round(y * SCALE)})"
