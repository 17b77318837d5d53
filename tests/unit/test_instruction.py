"""Step instructions: the words, their inverse, and what an inexact instruction still finds."""

import pytest

from tracer.action import Action
from tracer.instruction import describe, locate, refer
from tracer.trajectory import Element

BOX = (0.1, 0.1, 0.2, 0.2)


def element(role: str, text: str, **more: str) -> Element:
    return Element(role=role, text=text, box=BOX, **more)


SCREEN = (
    element("input:text", "Username"),
    element("input:checkbox", ""),
    element("button", "Submit"),
    element("input:checkbox", ""),
    element("div", 'say "hi", twice'),
    element("a", "Submit"),
    element("input:checkbox", "", state="checked"),
    element("span", "2nd"),
    element("span", "the 3rd span"),
    element("button", "Cancel"),
)
CLICK = Action.of("click", x=0.15, y=0.15)


@pytest.mark.parametrize("index", range(len(SCREEN)))
def test_locate_undoes_describe(index: int) -> None:
    assert locate(describe(CLICK, SCREEN[index], SCREEN), SCREEN) == index


def test_equal_elements_are_told_apart_by_place() -> None:
    twins = (element("button", "No"), Element(role="button", text="No", box=(0.5, 0.5, 0.6, 0.6)))
    assert [locate(describe(CLICK, twin, twins), twins) for twin in twins] == [0, 1]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action.of("type", text="karla"), 'type "karla"'),
        (Action.of("key", key="Enter"), "press Enter"),
        (Action.of("scroll", direction="up"), "scroll up"),
        (CLICK, "click at (150, 150)"),
        (Action.of("drag", x=0, y=0, to_x=1, to_y=0.5), "drag at (0, 0) to at (1000, 500)"),
        (Action.of("open_app", app="Clock"), "open the app Clock"),
        (Action.of("navigate_back"), "navigate back"),
        (Action.of("terminate", status="success"), "stop with success"),
        (Action.of("tool_call", name="add", arguments={"a": 1}), 'call add with {"a": 1}'),
    ],
)
def test_words_of_actions_without_an_element(action: Action, words: str) -> None:
    assert describe(action, None, SCREEN) == words


def test_the_ordinal_appears_only_among_equals() -> None:
    assert describe(CLICK, SCREEN[2], SCREEN) == 'click the button "Submit"'
    assert describe(CLICK, SCREEN[3], SCREEN) == 'click the 2nd input:checkbox ""'
    assert describe(Action.of("double_click", x=0, y=0), SCREEN[0], SCREEN) == 'double-click the input:text "Username"'


@pytest.mark.parametrize(("count", "ordinal"), [(1, "1st"), (3, "3rd"), (11, "11th"), (12, "12th"), (21, "21st")])
def test_ordinals_in_english(count: int, ordinal: str) -> None:
    boxes = [Element(role="a", text="x", box=(i / 100, 0, (i + 1) / 100, 1)) for i in range(30)]
    assert refer(boxes[count - 1], boxes) == f'the {ordinal} a "x"'


@pytest.mark.parametrize(
    ("instruction", "index"),
    [
        ('click the button "Sbumit"', 2),
        ('click the link "Submit"', 2),
        ("Click on the Cancel button", 9),
        ("tap Username", 0),
        ('click the 7th input:checkbox ""', None),
        ('click the button "Elsewhere"', None),
        ("press Enter", None),
        ("", None),
    ],
)
def test_inexact_instructions(instruction: str, index: int | None) -> None:
    assert locate(instruction, SCREEN) == index


def test_no_elements() -> None:
    assert locate('click the button "Submit"', ()) is None
    assert locate('click the button "Submit"', None) is None
