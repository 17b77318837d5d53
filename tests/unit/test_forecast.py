"""Forecasts: the grammars give back what they wrote, and refuse everything else with a reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import POINTING, actions, patient, states, steps, texts, thousandths
from tracer.action import Action
from tracer.forecast import SCALE, ForecastStep, reference
from tracer.grammars.grammar import GRAMMARS, grammar
from tracer.grammars.pointing import spans
from tracer.grammars.reading import Reading
from tracer.instruction import describe
from tracer.trajectory import Element, State, Step, Trajectory

EMPTY = State(goal="")
SCREEN = State(
    goal='Send "Hello World" to Karla before 12/03.',
    elements=(
        Element(role="input", text="", box=(0.0, 0.0, 0.2, 0.1), value="karla"),
        Element(role="button", text="Reply", box=(0.4, 0.0, 0.6, 0.1)),
        Element(role="input", text="Name", box=(0.7, 0.0, 0.9, 0.1), value="typed"),
    ),
)


@patient
@given(st.lists(st.tuples(actions(numbers=thousandths), texts), min_size=1, max_size=5))
def test_literal_gives_back_what_it_wrote(pairs: list[tuple[Action, str]]) -> None:
    forecast = tuple(ForecastStep(action=action, instruction=instruction) for action, instruction in pairs)
    literal = grammar("literal")
    assert literal.read(literal.format(forecast, EMPTY), EMPTY, 5) == Reading(forecast=forecast)


@patient
@given(st.lists(actions(), min_size=1, max_size=3))
def test_literal_rounds_coordinates_to_a_thousandth(found: list[Action]) -> None:
    literal = grammar("literal")
    written = literal.format([ForecastStep(action=action, instruction="") for action in found], EMPTY)
    for step, action in zip(literal.read(written, EMPTY, 3).forecast or (), found, strict=True):
        for (name, ours), (_, theirs) in zip(step.action.arguments, action.arguments, strict=True):
            assert ours == (pytest.approx(theirs, abs=0.5 / SCALE) if name in ("x", "y", "to_x", "to_y") else theirs)


@patient
@given(st.data())
def test_pointing_gives_back_what_it_wrote(data: st.DataObject) -> None:
    state = data.draw(states())
    forecast = data.draw(st.lists(steps(state), min_size=1, max_size=5))
    pointing = grammar("pointing")
    reading = pointing.read(pointing.format(forecast, state), state, 5)
    for ours, theirs in zip(reading.forecast or (), forecast, strict=True):
        assert ours.instruction == theirs.instruction
        assert ours.action == (theirs.action if theirs.target else _without_place(theirs.action))


def _without_place(action: Action) -> Action:
    """What the pointing grammar keeps of an action whose place is not an element of the screen."""
    return Action(action.type, tuple(pair for pair in action.arguments if pair[0] not in ("x", "y", "amount")))


@patient
@given(
    st.text()
    | st.lists(st.sampled_from([*POINTING, " ", "\n", '"', "$1", "@0", "upper", "{", "[", "9", "button"])).map("".join)
)
def test_an_answer_is_a_forecast_or_has_a_reason_why_not(text: str) -> None:
    for name in GRAMMARS:
        reading = grammar(name).read(text, SCREEN, 3)
        assert reading.error if reading.forecast is None else 1 <= len(reading.forecast) <= 3


@patient
@given(st.data(), st.sampled_from(["klick 4", "click $7", "{", '{"action": "click"}']))
def test_a_bad_line_costs_the_lines_from_there_on(data: st.DataObject, bad: str) -> None:
    state = data.draw(states())
    made = data.draw(st.lists(steps(state), min_size=1, max_size=4))
    at = data.draw(st.integers(0, len(made)))
    for name in GRAMMARS:
        bad_line = bad if name == "pointing" else "{" + bad  # a literal grammar skips lines that begin otherwise
        lines = grammar(name).format(made, state).split("\n")
        start = len(lines) - len(made)  # the end of the reasoning
        text = "\n".join([*lines[: start + at], bad_line, *lines[start + at :]])
        prefix, whole = grammar(name).read(text, state, 9), grammar(name, "whole").read(text, state, 9)
        before = grammar(name).read("\n".join(lines[: start + at]), state, 9)
        assert prefix.forecast == before.forecast and prefix.error == whole.error != ""
        assert prefix.cut == (at > 0) and whole.forecast is None and not whole.cut
        # Past the horizon, no line costs anything.
        if at:
            assert grammar(name).read(text, state, at) == before == grammar(name, "whole").read(text, state, at)


def refused(name: str, text: str) -> str:
    """Why an answer contains no forecast."""
    reading = grammar(name).read(text, EMPTY if name == "literal" else SCREEN, 5)
    assert reading.forecast is None
    return reading.error


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "no line holds a JSON object"),
        ("click the button", "no line holds a JSON object"),
        ('{"action": "click"', "not a JSON object"),
        ('{"action": "click", "x": 1, "y": 1}', "'action' and 'step' have to be strings"),
        ('{"action": 3, "step": "s"}', "'action' and 'step' have to be strings"),
        ('{"action": "tap", "step": "s"}', "unknown action type"),
        ('{"action": "click", "x": 1, "y": 1001, "step": "s"}', "off the screen"),
        ('{"action": "click", "x": true, "y": 1, "step": "s"}', "a finite number is needed"),
        ('{"action": "click", "x": NaN, "y": 1, "step": "s"}', "a finite number is needed"),
        ('{"action": "click", "x": 1' + "0" * 400 + ', "y": 1, "step": "s"}', "a finite number is needed"),
        ('{"action": "click", "x": 1' + "0" * 5000 + ', "y": 1, "step": "s"}', "not a JSON object"),
        ('{"action": "type", "text": "\\ud800", "step": "s"}', "not a JSON object"),
        ('{"a":' * 100_000, "not a JSON object"),
    ],
)
def test_literal_refuses(line: str, says: str) -> None:
    assert says in refused("literal", line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "the text is empty"),
        ("tap 1", "unknown action"),
        ("click", "no target"),
        ("click 3", "no element 3"),
        ("click 0000000000000001", "no element"),
        ('click button "Reply', "neither a reference nor a quoted text"),
        ("type Karla", "neither a reference nor a quoted text"),
        ("type", "neither a reference nor a quoted text"),
        ("type $0", "the goal has no span"),
        ("type $4", "the goal has no span"),
        ("type $" + "9" * 5000, "neither a reference nor a quoted text"),
        ("type " + "9" * 5000, "neither a reference nor a quoted text"),
        ("type " + "[" * 100_000, "neither a reference nor a quoted text"),
        ('type upper "a"', "neither a reference nor a quoted text"),
        ("type upper @1", "neither a reference nor a quoted text"),
        ("scroll north", "is none of up, down, left, right"),
        ("wait long", "could not convert"),
        ("wait nan", "a finite number is needed"),
        ("navigate_back now", "not part of the pointing grammar"),
        ("drag", "missing arguments"),
        ('tool_call f {"a": 1}', "not part of the pointing grammar"),
    ],
)
def test_pointing_refuses(line: str, says: str) -> None:
    assert says in refused("pointing", line)


def test_pointing_reads_references() -> None:
    assert spans(SCREEN.goal) == ("Hello World", "Karla", "12/03")
    lines = [
        "click 1",
        "type $1",
        "type upper $2",
        "type lower $2",
        "type @1",
        "type @0",
        'click 2nd link "A"',
        "click @1",
    ]
    parsed = grammar("pointing").read("\n".join(lines), SCREEN, 10).forecast or ()
    assert parsed[0] == ForecastStep(action=Action.of("click", x=0.5, y=0.05), instruction='click the button "Reply"')
    assert [step.action.get("text") for step in parsed[1:6]] == ["Hello World", "KARLA", "karla", "Reply", "karla"]
    assert parsed[6] == ForecastStep(action=Action("click"), instruction='click the 2nd link "A"')
    assert parsed[7].instruction == 'click the "Reply"'


def test_a_value_behind_a_text_is_quoted_not_pointed_at() -> None:
    # Element 2 shows "Name" and holds "typed": "@2" reads "Name", so "typed" has to be written out.
    action = Action.of("type", text="typed")
    step = ForecastStep(action=action, instruction=describe(action))
    assert grammar("pointing").format([step], SCREEN) == 'type "typed"'


def test_a_forecast_is_cut_at_the_horizon() -> None:
    assert len(grammar("pointing", "whole").read("click 0\nclick 1\nnonsense", SCREEN, 2).forecast or ()) == 2
    line = json.dumps({"action": "wait", "step": "wait"})
    assert len(grammar("literal", "whole").read(f"{line}\n{line}\n{{nonsense", EMPTY, 2).forecast or ()) == 2


def test_reasoning_and_prose_are_read_past() -> None:
    line = '{"action": "click", "x": 500, "y": 250, "step": "click it"}'
    prose = f"The plan:\n```json\n  {line},\n```"
    expected = (ForecastStep(action=Action.of("click", x=0.5, y=0.25), instruction="click it"),)
    assert grammar("literal").read(prose, EMPTY, 5).forecast == expected
    drafted = '<think>{"action": "wait", "step": "no"}'
    assert grammar("reasoned").read(f"{drafted}</think>\n{prose}", EMPTY, 5).forecast == expected
    assert "does not end" in refused("reasoned", f"{drafted}\n{line}")


def test_the_reference_is_what_was_done_from_the_step_on() -> None:
    made = [Action.of("wait", seconds=number) for number in range(4)]
    trajectory = Trajectory(
        id="a", source="s", split="train", task="t", goal="g",
        steps=tuple(Step(action=action, instruction=f"step {i}") for i, action in enumerate(made)),
    )  # fmt: skip
    assert [step.action for step in reference(trajectory, 1, 2)] == made[1:3]
    assert [step.instruction for step in reference(trajectory, 3, 5)] == ["step 3"]
