"""Actions: what the grammar allows, what it refuses and how they are written as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import actions, patient
from tracer.action import GRAMMAR, Action, ActionError


@patient
@given(actions())
def test_json_holds_an_action_whole(action: Action) -> None:
    assert Action.from_json(action.to_json()) == action
    assert Action.from_json(action.to_dict()) == action
    assert Action.from_json(action.to_json()).to_json() == action.to_json()


@patient
@given(actions())
def test_an_action_is_hashable_and_ordered_as_the_grammar(action: Action) -> None:
    required, optional = GRAMMAR[action.type]
    names = [name for name, _ in action.arguments]
    assert hash(action) == hash(Action.of(action.type, **dict(reversed(action.arguments))))
    assert names == [name for name in required + optional if name in names]


def test_every_type_has_an_example() -> None:
    examples = {
        "click": {"x": 0.5, "y": 0.5},
        "drag": {"x": 0, "y": 0, "to_x": 1, "to_y": 1},
        "scroll": {"direction": "up", "amount": 3},
        "tool_call": {"name": "search", "arguments": {"b": [1], "a": None}},
        "terminate": {"status": "success"},
        "wait": {"seconds": 2},
    }
    for kind, arguments in examples.items():
        assert Action.of(kind, **arguments).type == kind
    assert Action.of("tool_call", **examples["tool_call"]).tool_arguments == {"a": None, "b": [1]}
    assert Action.of("click", x=0.25, y=1).point == (0.25, 1.0)
    assert Action.of("wait").point is None
    assert Action.of("click", x=0.25, y=1).at(0.5, 0.75) == Action.of("click", x=0.5, y=0.75)


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        ("tap", {}, "unknown action type 'tap'"),
        ("click", {"x": 0.5}, "missing arguments ['y']"),
        ("click", {"x": 0.5, "y": 0.5, "text": "a"}, "unknown arguments ['text']"),
        ("scroll", {"direction": "up", "x": 0.5}, "x and y go together"),
        ("click", {"x": 1.01, "y": 0.5}, "off the screen"),
        ("click", {"x": -0.01, "y": 0.5}, "off the screen"),
        ("click", {"x": float("nan"), "y": 0.5}, "a finite number is needed"),
        ("click", {"x": float("inf"), "y": 0.5}, "a finite number is needed"),
        ("click", {"x": True, "y": 0.5}, "a finite number is needed"),
        ("click", {"x": "0.5", "y": 0.5}, "a finite number is needed"),
        ("wait", {"seconds": 10**400}, "a finite number is needed"),
        ("wait", {"seconds": -1}, "is negative"),
        ("scroll", {"direction": "north"}, "is none of up, down, left, right"),
        ("terminate", {"status": "done"}, "is none of success, failure"),
        ("key", {"key": ""}, "it is empty"),
        ("open_app", {"app": 3}, "a string is needed"),
        ("tool_call", {"name": "f", "arguments": [1]}, "an object is needed"),
        ("tool_call", {"name": "f", "arguments": "{"}, "not JSON"),
        ("tool_call", {"name": "f", "arguments": {"a": float("nan")}}, "not JSON"),
        ("tool_call", {"name": "f", "arguments": "[" * 100_000}, "not JSON"),
    ],
)
def test_a_bad_action_is_refused_with_its_argument(kind: str, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ActionError) as error:
        Action.of(kind, **arguments)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"x": 1}', '{"type": 3}', "{", '{"type": "wait", "seconds": 1e999}']
)
def test_text_that_is_no_action_is_refused(text: str) -> None:
    with pytest.raises(ActionError):
        Action.from_json(text)


@patient
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists) | st.text())
def test_nothing_but_an_action_error_comes_out(value: object) -> None:
    for kind in GRAMMAR:
        for arguments in (
            {"x": value, "y": value},
            {"text": value},
            {"name": value, "arguments": value},
            {"key": value},
        ):
            try:
                action = Action.of(kind, **arguments)
            except ActionError:
                continue
            json.loads(action.to_json())


def test_minus_zero_is_zero() -> None:
    assert Action.of("click", x=-0.0, y=0.0).to_json() == Action.of("click", x=0.0, y=0.0).to_json()
