"""What model families write, read into our actions."""

from __future__ import annotations

import pytest

from tracer.action import Action
from tracer.grammars.conventions import LONGEST, ConventionError, parse, smart_resize

SIZE, RESIZED = (1080, 2400), (540, 1200)


def mobile(arguments: str) -> str:
    return f'<think>x</think>\n<tool_call>\n{{"name": "mobile_use", "arguments": {arguments}}}\n</tool_call>'


@pytest.mark.parametrize(
    ("convention", "text", "action"),
    [
        ("literal", '{"action": "click", "x": 500, "y": 250, "step": "s"}', Action.of("click", x=0.5, y=0.25)),
        ("os-atlas", "actions:\nCLICK <point>[[500,250]]</point><|im_end|>", Action.of("click", x=0.5, y=0.25)),
        ("os-atlas", "actions:\nSCROLL [DOWN]", Action.of("scroll", direction="up")),
        ("os-atlas", "TYPE [new york]", Action.of("type", text="new york")),
        ("os-atlas", "OPEN_APP [Clock]", Action.of("open_app", app="Clock")),
        ("os-atlas", "IMPOSSIBLE", Action.of("terminate", status="failure")),
        ("odyssey", "LONG_PRESS: (500, 250)", Action.of("long_press", x=0.5, y=0.25)),
        ("odyssey", "SCROLL: UP", Action.of("scroll", direction="up")),
        ("odyssey", "TYPE: at 10:30", Action.of("type", text="at 10:30")),
        ("odyssey", "PRESS_RECENT", Action.of("navigate_recent")),
        # Pixels of the resized image: 270 of 540, 300 of 1200.
        ("qwen2.5-vl", mobile('{"action": "click", "coordinate": [270, 300]}'), Action.of("click", x=0.5, y=0.25)),
        # 0 to 1000, whatever the image.
        ("qwen3-vl", mobile('{"action": "click", "coordinate": [500, 250]}'), Action.of("click", x=0.5, y=0.25)),
        (
            "qwen3-vl",
            mobile('{"action": "swipe", "coordinate": [500, 750], "coordinate2": [500, 250]}'),
            Action.of("scroll", direction="up", x=0.5, y=0.75),
        ),
        ("qwen3-vl", mobile('{"action": "open", "text": "Clock"}'), Action.of("open_app", app="Clock")),
        ("qwen3-vl", mobile('{"action": "system_button", "button": "Back"}'), Action.of("navigate_back")),
        ("qwen3-vl", mobile('{"action": "terminate", "status": "success"}'), Action.of("terminate", status="success")),
        ("ui-tars", "Thought: t\nAction: click(start_box='(500,250)')", Action.of("click", x=0.5, y=0.25)),
        (
            "ui-tars-1.5",
            "Thought: t\nAction: click(start_box='<|box_start|>(270,300)<|box_end|>')",
            Action.of("click", x=0.5, y=0.25),
        ),
        ("ui-tars", "Action: scroll(start_box='(1,1)', direction='down')", Action.of("scroll", direction="up")),
        ("ui-tars", "Action: type(content='it\\'s')", Action.of("type", text="it's")),
        (
            "ui-tars",
            "Action: drag(start_box='(0,0)', end_box='(1000,1000)')",
            Action.of("drag", x=0, y=0, to_x=1, to_y=1),
        ),
        ("ui-tars", "Action: call_user()", Action.of("terminate", status="failure")),
        (
            "gui-r1",
            "<answer>[{'action': 'click', 'point': [270, 300], 'input_text': 'no'}]</answer>",
            Action.of("click", x=0.5, y=0.25),
        ),
        (
            "gui-r1",
            "<answer>[{'action': 'scroll', 'point': [1, 1], 'input_text': 'down'}]</answer>",
            Action.of("scroll", direction="up"),
        ),
    ],
)
def test_reading(convention: str, text: str, action: Action) -> None:
    assert parse(text, convention, size=SIZE, resized=RESIZED) == action


@pytest.mark.parametrize(
    ("convention", "text"),
    [
        ("literal", "nothing"),
        ("os-atlas", "CLICK"),
        ("os-atlas", "SCROLL [SIDEWAYS]"),
        ("os-atlas", ""),
        ("odyssey", "CLICK: (__import__('os'), 1)"),
        ("odyssey", "CLICK: (1, 2000)"),
        ("qwen3-vl", "<tool_call>not json</tool_call>"),
        ("qwen3-vl", mobile('{"action": "click"}')),
        ("qwen3-vl", mobile('{"action": "click", "coordinate": [true, 1]}')),
        ("qwen3-vl", mobile('{"action": "fly"}')),
        ("qwen3-vl", mobile('{"action": "click", "coordinate": [1, 5000]}')),
        ("ui-tars", "Action: click(start_box=open('x'))"),
        ("ui-tars", "Action: click('(1,2)')"),
        ("ui-tars", "Action: rm(**{'a': 1})"),
        ("ui-tars", "Action: " + "(" * 10_000),
        ("gui-r1", "<answer>[]</answer>"),
        ("gui-r1", "<answer>" + "[" * 10_000 + "</answer>"),
        ("gui-r1", "x" * (LONGEST + 1)),
        # Python makes no float of 400 digits, and no text of 4,301.
        ("os-atlas", f"CLICK <point>[[{'9' * 400},5]]</point>"),
        ("os-atlas", f"CLICK <point>[[{'9' * 5000},5]]</point>"),
        ("odyssey", f"CLICK: ({'9' * 400}, 5)"),
        ("odyssey", f"CLICK: 0x{'f' * 5000}"),
        ("qwen2.5-vl", mobile(f'{{"action": "click", "coordinate": [{"9" * 400}, 1]}}')),
        ("qwen3-vl", mobile(f'{{"action": "click", "coordinate": [{"9" * 5000}, 1]}}')),
        ("ui-tars", f"Action: click(start_box=0x{'f' * 5000})"),
        ("gui-r1", f"<answer>[{{'action': 'click', 'point': [{'9' * 400}, 1]}}]</answer>"),
    ],
)
def test_what_does_not_follow_its_convention_is_refused(convention: str, text: str) -> None:
    with pytest.raises(ConventionError):
        parse(text, convention, size=SIZE)


@pytest.mark.parametrize(
    ("size", "factor", "limit", "resized"),
    [
        ((1080, 2400), 28, 10**9, (1092, 2408)),  # 38.57 and 85.71 units of 28: 39 and 86
        ((1080, 2400), 28, 1_000_000, (644, 1484)),  # shrunk by sqrt(2.592) = 1.60997: 670.8 and 1490.7
        ((20, 20), 28, 10**9, (56, 56)),  # grown to 56 * 56 pixels
        ((1280, 720), 32, 10**9, (1280, 704)),  # 22.5 units of 32: Python rounds half to even
    ],
)
def test_smart_resize(size: tuple[int, int], factor: int, limit: int, resized: tuple[int, int]) -> None:
    assert smart_resize(size, factor=factor, max_pixels=limit) == resized


def test_smart_resize_refuses_a_line() -> None:
    with pytest.raises(ConventionError, match="narrow"):
        smart_resize((1, 500))


def test_a_text_full_of_backslashes_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    action = parse(r"Action: type(content='C:\o\i')", "ui-tars", size=(1000, 1000))
    assert action.get("text") == r"C:\o\i"
    assert not recwarn.list
