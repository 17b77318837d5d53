"""Hypothesis strategies for the vocabulary: actions, screens, states and forecasts."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tracer.action import DIRECTIONS, GRAMMAR, STATUSES, Action
from tracer.forecast import ForecastStep
from tracer.instruction import describe
from tracer.trajectory import Box, Element, State

POINTING = ("click", "double_click", "right_click", "long_press", "move", "scroll", "type", "key", "select")
POINTING += ("open_app", "navigate_back", "navigate_home", "navigate_recent", "wait", "answer", "terminate")

# On a busy machine an example may take long; that is no fault of the code under test.
patient = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
texts = st.text('aB 1$@"\\\n\t{}é漢🙂\u2028\x85', max_size=8)
words = st.text("abcdefgh XYZ-'", min_size=1, max_size=8).map(str.strip).filter(bool)
fractions = st.floats(0, 1)
# What the literal grammar can write: coordinates are integers 0 to 1000.
thousandths = st.integers(0, 1000).map(lambda value: value / 1000)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def _value(name: str, numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    special: dict[str, st.SearchStrategy[Any]] = {
        "direction": st.sampled_from(DIRECTIONS),
        "status": st.sampled_from(STATUSES),
        "arguments": st.dictionaries(texts, json_values, max_size=3),
        "amount": st.integers(0, 10).map(float),
        "seconds": st.integers(0, 60).map(float),
        "text": texts,
    }
    return special.get(name, words if name in ("key", "name", "app") else numbers)


@st.composite
def actions(
    draw: st.DrawFn, types: tuple[str, ...] = tuple(GRAMMAR), numbers: st.SearchStrategy[float] = fractions
) -> Action:
    kind = draw(st.sampled_from(types))
    required, optional = GRAMMAR[kind]
    wanted = [*required, *(name for name in optional if name not in ("x", "y") and draw(st.booleans()))]
    if "x" in optional and draw(st.booleans()):
        wanted += ["x", "y"]
    return Action.of(kind, **{name: draw(_value(name, numbers)) for name in wanted})


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, right = sorted(draw(st.tuples(fractions, fractions)))
    top, bottom = sorted(draw(st.tuples(fractions, fractions)))
    return (left, top, right, bottom)


@st.composite
def screens(draw: st.DrawFn) -> tuple[Element, ...]:
    """Elements in a row, so that no box hides another; texts may repeat."""
    number = draw(st.integers(0, 6))
    return tuple(
        Element(
            role=draw(st.sampled_from(("button", "link", "textbox", "span"))),
            text=draw(words | st.just("")),
            box=(index / 6, 0.25, (index + 0.5) / 6, 0.5),
            value=draw(words | st.just("")),
        )
        for index in range(number)
    )


@st.composite
def states(draw: st.DrawFn) -> State:
    named = draw(st.lists(words, max_size=3))
    goal = "Do this: " + ", ".join(f'"{word}"' for word in named)
    return State(goal=goal, elements=draw(screens()))


@st.composite
def steps(draw: st.DrawFn, state: State, types: tuple[str, ...] = POINTING) -> ForecastStep:
    """A step as a recorder writes it: a click hits an element's centre, and its instruction names that element."""
    action = draw(actions(types))
    elements = state.elements or ()
    if action.point is None or "x" not in GRAMMAR[action.type][0] or not elements:
        return ForecastStep(action=action, instruction=describe(action, None, elements))
    element = draw(st.sampled_from(elements))
    left, top, right, bottom = element.box
    action = action.at((left + right) / 2, (top + bottom) / 2)
    return ForecastStep(action=action, instruction=describe(action, element, elements), target=element.box)


@st.composite
def forecasts(draw: st.DrawFn, size: int = 5) -> tuple[ForecastStep, ...]:
    """Steps of any type anywhere, with their descriptions."""
    found = draw(st.lists(actions(), min_size=1, max_size=size))
    return tuple(ForecastStep(action=action, instruction=describe(action)) for action in found)
