"""Every rule of the benchmarks with figures worked out by hand; the working stands beside each."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.benchmarks.test_second import Given
from tracer.benchmarks.android_control import Node, candidate_boxes
from tracer.benchmarks.mind2web import page_blocks, row_item
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import Outcome, Unparsable, benchmark_class
from tracer.scoring.score import judge


def parts(benchmark: str, protocol: str, item: dict[str, Any], prediction: dict[str, Any], strict: bool = True) -> Any:
    scorer = benchmark_class(benchmark)(protocols.load(benchmark, protocol, None if strict else False))
    row = scorer.item_model.model_validate({"id": "i", **item})
    found: Outcome = scorer.outcome(row, scorer.prediction_model.model_validate({"id": "i", **prediction}))
    return {name: (float(n), float(d)) for name, (n, d) in found.parts.items()}


def control(action: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"episode": 1, "step": 0, "goal": "g", "width": 1080, "height": 2400, "action": action, **more}


CLICK = {"action_type": "click", "x": 540, "y": 1200}  # (500, 500) of 1000


@pytest.mark.parametrize(
    ("point", "hit"),
    [
        ((640, 500), 1),  # 140 to the right: the limit itself, 151 pixels
        ((641, 500), 0),
        ((500, 640), 1),  # 140 down: 336 pixels
        ((599, 599), 0),  # sqrt(2 * 99^2) = 140.007
        ((598, 599), 1),  # sqrt(98^2 + 99^2) = 139.3
    ],
)
def test_p1_click_radius(point: tuple[int, int], hit: int) -> None:
    native = f"CLICK <point>[[{point[0]},{point[1]}]]</point>"
    found = parts("android_control", "p1-high-7708", control(CLICK), {"native": native})
    assert found == {"type": (1, 1), "grounding": (hit, 1), "step": (hit, 1)}


def test_p1_grounding_leaves_out_clicks_of_another_type() -> None:
    found = parts("android_control", "p1-high-7708", control(CLICK), {"native": "PRESS_BACK"})
    assert found == {"type": (0, 1), "grounding": (0, 0), "step": (0, 1)}


@pytest.mark.parametrize(
    ("ours", "right"),
    [
        ("TYPE [new york hotels]", 1),
        ("TYPE [new york]", 1),  # second words "[new" and "[new": F1 1
        ("TYPE [NEW delhi]", 1),  # lower case, first word only
        ("TYPE [new]", 0),  # "[new]" is not "[new"
        ("TYPE [york new]", 0),
        ("TYPE", 0),
    ],
)
def test_p1_text_is_judged_by_its_first_word(ours: str, right: int) -> None:
    item = control({"action_type": "input_text", "text": "new york hotels"})
    assert parts("android_control", "p1-high-7708", item, {"native": ours})["step"] == (right, 1)


def test_p1_takes_our_actions_and_flips_the_scroll() -> None:
    item = control({"action_type": "scroll", "direction": "down"})  # the content moves up: the finger goes up
    for finger, right in (("up", 1), ("down", 0)):
        action = {"type": "scroll", "direction": finger}
        assert parts("android_control", "p1-high-7708", item, {"action": action})["step"] == (right, 1)
    assert parts("android_control", "p1-high-7708", item, {"native": "SCROLL [DOWN]"})["step"] == (1, 1)


def test_p1_other_actions_need_the_same_line() -> None:
    item = control({"action_type": "navigate_back"})
    assert parts("android_control", "p1-high-7708", item, {"native": "PRESS_BACK"})["step"] == (1, 1)
    assert parts("android_control", "p1-high-7708", item, {"native": "PRESS_BACK now"})["step"] == (0, 1)
    text = {"text": "thoughts:\nback\nactions:\nPRESS_BACK<|im_end|>", "convention": "os-atlas"}
    assert parts("android_control", "p1-high-7708", item, text)["step"] == (1, 1)


@pytest.mark.parametrize(
    ("ours", "right"),
    [("WAIT", 1), ("WAIT ", 0), ("WAIT<|im_end|>", 1), ("WAIT<|im_end|>\n", 0), ("mWAITing", 0), ("minWAITmend", 1)],
)
def test_p1_strips_characters_and_no_blanks(ours: str, right: int) -> None:
    item = control({"action_type": "wait"})
    text = {"text": f"actions:\n{ours}", "convention": "os-atlas"}
    assert parts("android_control", "p1-high-7708", item, text)["step"] == (right, 1)
    assert parts("android_control", "p1-high-7708", item, {"native": ours})["step"] == (right, 1)


def test_p1_counts_an_episode_for_its_first_subsplit() -> None:
    scorer = benchmark_class("android_control")(protocols.load("android_control", "p1-high-7708"))
    item = scorer.item_model.model_validate({"id": "i", **control(CLICK, subsplits=["category_unseen", "app_unseen"])})
    assert scorer.outcome(item, None).groups == ("type=click", "split=app_unseen")


@pytest.mark.parametrize(
    ("x", "hit"),
    [(540 + 151, 1), (540 + 152, 0)],  # 0.14 * 1080 = 151.2, and the rule is "below"
)
def test_p2_place_counts_whatever_the_type(x: int, hit: int) -> None:
    native = {"action": "long_press", "point": [x, 1200], "input_text": "no"}
    found = parts("android_control", "p2-high", control(CLICK), {"native": native})
    assert found == {"type": (0, 1), "grounding": (hit, 1), "step": (hit, 1)}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("hello there you", 0),  # {hello, there, you} and {hello, world}: p 1/3, r 1/2, F1 0.4
        ("hello there", 1),  # 1 of 2 and 1 of 2: F1 0.5, which is enough
        ("goodbye", 0),
        ("", 0),
    ],
)
def test_p2_text_f1(text: str, right: int) -> None:
    item = control({"action_type": "input_text", "text": "hello world"})
    native = {"action": "click", "input_text": text}
    assert parts("android_control", "p2-high", item, {"native": native}) == {
        "type": (0, 1),
        "grounding": (0, 0),
        "step": (right, 1),
    }


def test_p2_single_words_match_by_substring_and_back_has_no_step() -> None:
    item = control({"action_type": "open_app", "app_name": "Clock"})
    native = {"action": "open_app", "input_text": "[clocks]"}
    assert parts("android_control", "p2-high", item, {"native": native})["step"] == (1, 1)
    back = control({"action_type": "navigate_back"})
    native = {"action": "press_back"}
    found = parts("android_control", "p2-high", back, {"native": native})
    assert found == {"type": (1, 1), "grounding": (0, 0), "step": (0, 0)}


@pytest.mark.parametrize(
    ("more", "strict", "hit"),
    [
        ({"point": [], "input_text": "x"}, True, 0),
        ({"point": None, "input_text": None}, True, 0),
        ({}, True, 0),
        ({}, False, 1),  # the script places it at (0, 0), and the step is at (100, 100)
        ({"point": [100, 100, 5]}, True, 1),
    ],
)
def test_p2_type_counts_whatever_else_is_missing(more: dict[str, Any], strict: bool, hit: int) -> None:
    item = control({"action_type": "click", "x": 100, "y": 100})
    found = parts("android_control", "p2-high", item, {"native": {"action": "click", **more}}, strict)
    assert found == {"type": (1, 1), "grounding": (hit, 1), "step": (hit, 1)}


@pytest.mark.parametrize(
    ("answer", "kind", "step"),
    [
        ("<answer>[{'action': 'click', 'point': [100, 120], 'input_text': 'x'}]</answer>", 1, 1),
        ("<answer>so {'action': 'click', 'point': [100, 120]} it is</answer>", 1, 1),  # no literal, yet found
        ("<answer>{'action': 'click', 'at': [900, 9], 'point': [100, 120]}</answer>", 1, 1),  # the last pair
        ("<answer>{'action': 'click', 'point': [100,\n 120]\n}</answer>", 1, 1),
        ("<answer>{'action': 'click',\n 'point': [100, 120]}</answer>", 1, 0),  # a brace on another line
        ("<answer>{'action': 'click', 'point': [100.0, 120.0]}</answer>", 1, 0),  # whole numbers only
        ('<answer>[{"action": "click", "point": [100, 120]}]</answer>', 0, 1),  # the quotes are part of the pattern
        ("[{'action': 'click', 'point': [100, 120]}]", 0, 0),  # no answer
    ],
)
def test_p2_reads_a_text_piece_by_piece(answer: str, kind: int, step: int) -> None:
    item = control({"action_type": "click", "x": 100, "y": 120})
    found = parts("android_control", "p2-high", item, {"text": answer, "convention": "gui-r1"})
    assert (found["type"], found["step"]) == ((kind, 1), (step, 1))


def test_p2_an_answer_without_a_text_says_no_input_text() -> None:
    item = control({"action_type": "input_text", "text": "no input"})  # {no, input} of {no, input, text}: F1 0.8
    for native in ({"action": "type"}, {"action": "type", "input_text": None}):
        assert parts("android_control", "p2-high", item, {"native": native})["step"] == (1, 1)


BOX = [500.0, 1180.0, 580.0, 1220.0]  # 80 x 40 about (540, 1200); enlarged by 1.2: 492 to 588, 1176 to 1224


@pytest.mark.parametrize(
    ("x", "y", "hit"),
    [
        (587, 1200, 1),  # inside the enlarged box
        (540 + 95, 1200, 1),  # outside it, but within 0.04 * 2400 = 96 pixels of the point
        (540 + 97, 1200, 0),
        (540, 1200 + 97, 0),
    ],
)
def test_p3_box_or_distance(x: int, y: int, hit: int) -> None:
    item = control(CLICK, boxes=[BOX])
    native = {"action": "click", "coordinate": [x, y]}
    found = parts("android_control", "p3-high", item, {"native": native})
    assert found == {"type": (1, 1), "grounding": (hit, 1), "step": (hit, 1)}


def test_p3_pixels_are_of_the_resized_image() -> None:
    item = control(CLICK, boxes=[BOX])
    native = {"native": {"action": "click", "coordinate": [270, 600]}, "resized": [540, 1200]}
    assert parts("android_control", "p3-high", item, native)["step"] == (1, 1)
    far = {"native": {"action": "click", "coordinate": [270 + 49, 600]}, "resized": [540, 1200]}  # 0.04 * 1200 = 48
    assert parts("android_control", "p3-high", item, far)["step"] == (0, 1)


def test_p3_texts_apps_swipes_buttons() -> None:
    typed = control({"action_type": "input_text", "text": "Hello World"})
    for text, strict, right in (
        ("hello", True, 1),
        ("say hello world", True, 1),
        ("bye", True, 0),
        ("", True, 0),
        ("", False, 1),
    ):
        native = {"action": "type", "text": text}
        assert parts("android_control", "p3-high", typed, {"native": native}, strict)["step"] == (right, 1)
    app = control({"action_type": "open_app", "app_name": "Clock"}, boxes=[BOX])
    assert parts("android_control", "p3-high", app, {"native": {"action": "open", "text": "clock"}})["step"] == (1, 1)
    icon = {"native": {"action": "click", "coordinate": [540, 1200]}}
    assert parts("android_control", "p3-high", app, icon) == {"type": (1, 1), "grounding": (1, 0), "step": (1, 1)}
    bare = control({"action_type": "open_app", "app_name": "Clock"})
    assert parts("android_control", "p3-high", bare, icon)["type"] == (0, 1)
    swipe = control({"action_type": "scroll", "direction": "down"})
    up = {"native": {"action": "swipe", "coordinate": [500, 900], "coordinate2": [510, 300]}}
    assert parts("android_control", "p3-high", swipe, up)["step"] == (1, 1)
    home = control({"action_type": "navigate_home"})
    for button, right in ((" home", 1), ("Back", 0)):
        native = {"action": "system_button", "button": button}
        assert parts("android_control", "p3-high", home, {"native": native})["step"] == (right, 1)
    wait = control({"action_type": "wait"})
    assert parts("android_control", "p3-high", wait, {"action": {"type": "wait"}})["step"] == (1, 1)


@pytest.mark.parametrize(
    ("call", "right"),
    [
        ({"action": "wait"}, 1),
        ({"action": "wait", "coordinate": [1, 2, 3]}, 1),
        ({"action": "wait", "coordinate": []}, 0),  # every place is scaled first, needed or not
        ({"action": "wait", "coordinate2": None}, 0),
    ],
)
def test_p3_a_malformed_place_fails_the_step_that_does_not_need_it(call: dict[str, Any], right: int) -> None:
    item = control({"action_type": "wait"})
    scorer = benchmark_class("android_control")(protocols.load("android_control", "p3-high"))
    row = scorer.item_model.model_validate({"id": "i", **item})
    prediction: Any = Given(scorer.prediction_model.model_validate({"id": "i", "native": call}))
    found = judge(scorer, row, prediction)
    assert (found.parts["type"][0], found.parts["step"][0]) == (right, right)


def test_p3_a_button_that_is_missing_is_an_error() -> None:
    for call, same in (({"button": "Menu"}, 1), ({}, 0)):
        scorer = benchmark_class("android_control")(protocols.load("android_control", "p3-high"))
        row = scorer.item_model.model_validate({"id": "i", **control({"action_type": "navigate_back"})})
        native = {"action": "system_button", **call}
        prediction: Any = Given(scorer.prediction_model.model_validate({"id": "i", "native": native}))
        assert judge(scorer, row, prediction).parts["type"] == (same, 1)


WAIT_CALL = '{"name": "mobile_use", "arguments":{"action": "wait"}}'


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (f"<tool_call>{WAIT_CALL}</tool_call>", 1),
        (f"I wait. {WAIT_CALL} Done.", 1),
        (f"<tool_call>{WAIT_CALL}<conclusion>waited}}}}", 1),
        (f"<tool_call>{WAIT_CALL[:-2]}", 1),  # its two braces are added
        (f"{WAIT_CALL}</tool_call> more", 1),
        (f"<think><tool_call></think>{WAIT_CALL}", 1),
        (f"<tool_call>now {WAIT_CALL}</tool_call>", 0),
        (f"<tool_call></tool_call><tool_call>{WAIT_CALL}</tool_call>", 0),  # the first counts
        ('{"arguments": {"action": "wait"}}', 0),
    ],
)
def test_p3_digs_the_call_out_of_prose(text: str, right: int) -> None:
    scorer = benchmark_class("android_control")(protocols.load("android_control", "p3-high"))
    row = scorer.item_model.model_validate({"id": "i", **control({"action_type": "wait"})})
    prediction = scorer.prediction_model.model_validate({"id": "i", "text": text, "convention": "qwen2.5-vl"})
    given: Any = Given(prediction)
    assert judge(scorer, row, given).parts["step"] == (right, 1)


NODES = [
    {"box": [0.0, 0.0, 1080.0, 2400.0]},
    {"box": [500.0, 1100.0, 600.0, 1300.0], "text": "Clock", "description": "Navigate back"},
    {"box": [530.0, 1190.0, 550.0, 1210.0], "text": "tick"},
]


@pytest.mark.parametrize(
    ("native", "right", "grounded"),
    [
        ({"action_type": "click", "x": 549, "y": 1209}, 1, 1),  # in the smallest node that holds (540, 1200)
        ({"action_type": "click", "x": 560, "y": 1200}, 0, 1),  # in a larger one only
        ({"action_type": "long_press", "x": 540, "y": 1200}, 0, 0),
    ],
)
def test_p4_smallest_node(native: dict[str, Any], right: int, grounded: int) -> None:
    found = parts("android_control", "p4-high", control(CLICK, nodes=NODES), {"native": native})
    assert found == {"step": (right, 1), "grounding": (right, grounded)}


def test_p4_equivalences_and_exact_keys() -> None:
    app = control({"action_type": "open_app", "app_name": "clock"}, nodes=NODES)
    press = {"action_type": "click", "x": 510, "y": 1120}
    assert parts("android_control", "p4-high", app, {"native": press})["step"] == (1, 1)
    back = control({"action_type": "navigate_back"}, nodes=NODES)
    assert parts("android_control", "p4-high", back, {"native": press})["step"] == (1, 1)
    on_node = control({"action_type": "click", "x": 510, "y": 1120}, nodes=NODES)
    assert parts("android_control", "p4-high", on_node, {"native": {"action_type": "navigate_back"}})["step"] == (1, 1)
    opened = {"action_type": "open_app", "app_name": "Clock"}
    assert parts("android_control", "p4-high", on_node, {"native": opened})["step"] == (1, 1)
    nameless = {"action_type": "open_app", "app_name": ""}
    assert parts("android_control", "p4-high", on_node, {"native": nameless})["step"] == (0, 1)
    typed = control({"action_type": "input_text", "text": "Oslo"})
    for text, right in (("Oslo", 1), ("oslo", 0)):
        native = {"action_type": "input_text", "text": text}
        assert parts("android_control", "p4-high", typed, {"native": native})["step"] == (right, 1)


@pytest.mark.parametrize(
    ("text", "x", "right"), [("Oslo", 549, 1), ("oslo", 549, 0), ("Oslo", 560, 0)]  # a hit needs text and box
)  # fmt: skip
def test_p4_type_text_has_a_place(text: str, x: int, right: int) -> None:
    item = control({"action_type": "type_text", "x": 540, "y": 1200, "text": "Oslo"}, nodes=NODES)
    native = {"action_type": "type_text", "x": x, "y": 1209, "text": text}
    found = parts("android_control", "p4-high", item, {"native": native})
    assert found == {"step": (right, 1), "grounding": (right, 1)}
    ours = {"type": "type", "text": text, "x": x / 1080, "y": 1209 / 2400}
    assert parts("android_control", "p4-high", item, {"action": ours}) == found


def test_p4_back_for_a_click_is_a_matter_of_grounding() -> None:
    item = control({"action_type": "click", "x": 510, "y": 1120}, nodes=NODES)
    for where, right in (({}, 1), ({"x": 510, "y": 1120}, 1), ({"x": 5, "y": 5}, 0)):
        native = {"action_type": "navigate_back", **where}
        found = parts("android_control", "p4-high", item, {"native": native})
        assert found == {"step": (right, 1), "grounding": (right, 1)}
    done = control({"action_type": "status", "goal_status": "successful"})
    for status, right in (("successful", 1), ("infeasible", 0)):
        native = {"action_type": "status", "goal_status": status}
        assert parts("android_control", "p4-high", done, {"native": native})["step"] == (right, 1)


def test_candidate_boxes_are_those_with_the_nearest_centres() -> None:
    nodes = [Node(box=[float(10 * n), 0.0, float(10 * n + 10), 10.0]) for n in range(9)]  # centres 5, 15, ..., 85
    nodes.append(Node(box=[30.0, 0.0, 30.0, 10.0]))  # no area
    boxes = candidate_boxes(nodes, {"action_type": "click", "x": 34, "y": 5})
    assert [box[0] for box in boxes] == [30, 20, 40, 10, 50]  # centres 35, 25, 45, 15, 55: 1, 9, 11, 19, 21 away
    named = [Node(box=[0.0, 0.0, 9.0, 9.0], description="Clock"), Node(box=[1.0, 0.0, 9.0, 9.0], text="Clock tower")]
    assert candidate_boxes(named, {"action_type": "open_app", "app_name": "clock"}) == [[0, 0, 9, 9]]
    assert candidate_boxes(nodes, {"action_type": "wait"}) == []


def odyssey(action: str, info: Any, **more: Any) -> dict[str, Any]:
    return {
        "episode": "e",
        "step": 0,
        "step_length": 1,
        "category": "c",
        "goal": "g",
        "action": action,
        "info": info,
        **more,
    }


def test_odyssey_os_atlas_variant() -> None:
    text = odyssey("TEXT", "red shoes size ten")
    # {type, [red, shoes, size, ten]} and {type, [red, shoes]}: common {type, [red}: p 2/3, r 2/5, F1 0.5: not above
    assert parts("gui_odyssey", "os-atlas", text, {"native": "TYPE [red shoes]"})["step"] == (0, 1)
    # {type, [red, shoes, x]}: common {type, [red, shoes}: p 3/4, r 3/5, F1 2/3
    assert parts("gui_odyssey", "os-atlas", text, {"native": "TYPE [red shoes x]"})["step"] == (1, 1)
    press = odyssey("LONG_PRESS", [[100, 80]])
    found = parts("gui_odyssey", "os-atlas", press, {"native": "LONG_PRESS <point>[[100,220]]</point>"})
    assert found == {"type": (1, 1), "grounding": (0, 1), "step": (1, 1)}  # in grounding's denominator only
    # Without two integers the script looks at (0, 0), sqrt(100^2 + 80^2) = 128 away.
    assert parts("gui_odyssey", "os-atlas", press, {"native": "LONG_PRESS here"}, strict=False)["step"] == (1, 1)
    assert parts("gui_odyssey", "os-atlas", press, {"native": "LONG_PRESS here"})["step"] == (0, 1)
    home = odyssey("CLICK", "KEY_HOME")
    assert parts("gui_odyssey", "os-atlas", home, {"native": "PRESS_HOME: now"})["step"] == (1, 1)


@pytest.mark.parametrize(
    ("ours", "same", "right"),
    [
        ("CLICK: (360, 500)", 1, 1),
        ("CLICK: (640, 500)", 1, 1),
        ("CLICK: [[600, 500]]", 1, 1),
        ("CLICK: 500", 1, 1),  # one number for both axes
        ("CLICK: '(600, 500)'", 1, 1),  # read once more
        ("CLICK: ('600', '500')", 1, 0),
        ("CLICK: (600, 500, 1)", 1, 0),
        ("CLICK: garbage", 1, 0),
        ("LONG_PRESS: garbage", 1, 0),  # what cannot be read counts as of the right action
        ("LONG_PRESS: (500, 500)", 0, 0),
    ],
)
def test_odyssey_official_points(ours: str, same: int, right: int) -> None:
    item = odyssey("CLICK", [[500, 500], [500, 500]])  # published twice
    found = parts("gui_odyssey", "official-random", item, {"native": ours})
    assert found == {"type": (same, 1), "step": (right, 1)}


def test_odyssey_official_radius_is_as_numpy_reckons_it() -> None:
    # 0.56 - 0.42 is 0.14000000000000007 in floating point, 0.52 - 0.38 is 0.14.
    for gold, ours, right in ((420, 560, 0), (380, 520, 1)):
        item = odyssey("CLICK", [[gold, 500]])
        assert parts("gui_odyssey", "official-random", item, {"native": f"CLICK: ({ours}, 500)"})["step"] == (right, 1)


def test_odyssey_official_texts() -> None:
    named = odyssey("TEXT", "KEY_HOME")
    assert parts("gui_odyssey", "official-random", named, {"native": "TYPE: KEY_HOME"})["step"] == (1, 1)
    assert parts("gui_odyssey", "official-random", named, {"native": "PRESS_HOME"})["type"] == (0, 1)
    assert parts("gui_odyssey", "official-random", named, {"native": "CLICK: garbage"})["type"] == (1, 1)
    assert parts("gui_odyssey", "official-random", named, {"native": "CLICK"})["type"] == (0, 1)
    held = odyssey("LONG_PRESS", "KEY_BACK")
    assert parts("gui_odyssey", "official-random", held, {"native": "PRESS_BACK"})["step"] == (1, 1)


def test_odyssey_gui_r1_and_our_actions() -> None:
    scroll = odyssey("SCROLL", [[500, 800], [500, 200]])  # the finger goes up
    for protocol in ("gui-r1", "official-random", "os-atlas"):
        for finger, right in (("up", 1), ("down", 0)):
            found = parts("gui_odyssey", protocol, scroll, {"action": {"type": "scroll", "direction": finger}})
            assert found["step"] == (right, 1)
    done = odyssey("INCOMPLETE", "")
    failed = {"action": {"type": "terminate", "status": "failure"}}
    assert parts("gui_odyssey", "official-random", done, failed)["step"] == (1, 1)
    assert parts("gui_odyssey", "gui-r1", done, failed) == {"type": (1, 1), "grounding": (0, 0), "step": (0, 0)}


def web(op: str, value: str = "", **more: Any) -> dict[str, Any]:
    item = {"task": "t", "split": "test_task", "goal": "g", "step": 0, "total_steps": 3, "image": "x.png", "op": op}
    return item | {
        "value": value,
        "boxes": [[100.0, 50.0, 40.0, 20.0], [0.0, 0.0, 10.0, 10.0]],
        "positives": ["7"],
        **more,
    }


def test_mind2web_coordinate_mode() -> None:
    click = {"native": {"op": "CLICK", "point": [140, 70]}}  # the box's far corner
    assert parts("mind2web", "coordinate-task", web("CLICK"), click) == {
        "element": (1, 1), "operation_f1": (1, 1), "step": (1, 1),
    }  # fmt: skip
    typed = {"native": {"op": "TYPE", "value": "new york city", "point": [5, 5]}}
    found = parts("mind2web", "coordinate-task", web("TYPE", "new york"), typed)
    # {type, new, york} in {type, new, york, city}: p 3/4, r 1, F1 6/7
    assert found["operation_f1"] == (pytest.approx(6 / 7), 1) and found["element"] == (1, 1) and found["step"] == (0, 1)
    # {click, x} against {click}: p 1/2, r 1, F1 2/3. A value of none is none; a token of punctuation is dropped.
    for value, f1 in (("x", 2 / 3), ("None", 1)):
        noisy = {"native": {"op": "CLICK", "value": value, "point": [5, 5]}}
        assert parts("mind2web", "coordinate-task", web("CLICK"), noisy)["operation_f1"] == (pytest.approx(f1), 1)
    noisy = {"native": {"op": "CLICK", "value": "x", "point": [5, 5]}}
    assert parts("mind2web", "coordinate-task", web("CLICK", "x"), noisy)["step"] == (1, 1)
    untyped = {"native": {"op": "TYPE", "value": "NONE", "point": [5, 5]}}
    assert parts("mind2web", "coordinate-task", web("TYPE", ""), untyped)["step"] == (1, 1)
    dotted = {"native": {"op": "TYPE", "value": "new york .", "point": [5, 5]}}
    assert parts("mind2web", "coordinate-task", web("TYPE", "new york"), dotted)["step"] == (1, 1)
    assert parts("mind2web", "coordinate-task", web("CLICK", image=None), click)["element"] == (0, 1)
    assert parts("mind2web", "coordinate-task", web("CLICK", boxes=[]), click)["element"] == (0, 1)


def test_mind2web_candidate_mode() -> None:
    right = {"native": {"op": "CLICK", "element": "7"}}
    assert parts("mind2web", "candidate-task", web("CLICK"), right)["step"] == (1, 1)
    assert parts("mind2web", "candidate-task", web("CLICK"), {"native": {"op": "CLICK", "element": "8"}})[
        "element"
    ] == (0, 1)
    none = parts("mind2web", "candidate-task", web("CLICK"), {"native": {"op": "CLICK"}})  # none of the above
    assert none == {"element": (0, 1), "operation_f1": (0, 1), "step": (0, 1)}
    for op, value, f1 in (("TYPE", "A.B", 1), ("TYPE", "a.b", 1 / 2), ("type", "A.B", 2 / 3), ("TYPE", "A.B\nx", 1)):
        ours = {"native": {"op": op, "value": value, "element": "7"}}
        found = parts("mind2web", "candidate-task", web("TYPE", "A.B"), ours)
        assert found["operation_f1"] == (pytest.approx(f1), 1), (op, value)
    # Beside a CLICK the recorded value is not shown, a predicted one is: {CLICK, x} against {CLICK}.
    ours = {"native": {"op": "CLICK", "value": "x", "element": "7"}}
    assert parts("mind2web", "candidate-task", web("CLICK", "x"), ours)["operation_f1"] == (pytest.approx(2 / 3), 1)
    lost = parts("mind2web", "candidate-task", web("CLICK", in_top=False), right)
    assert lost == {"element": (0, 1), "operation_f1": (0, 1), "step": (0, 1)}


def test_mind2web_row_has_json_inside_json() -> None:
    attributes = json.dumps({"bounding_box_rect": "10,20,30,40"})
    candidate = json.dumps({"tag": "a", "backend_node_id": "42", "attributes": attributes})
    row = {
        "annotation_id": "a", "action_uid": "b", "confirmed_task": "buy", "website": "w",
        "operation": json.dumps({"op": "CLICK", "original_op": "HOVER", "value": ""}),
        "pos_candidates": [candidate], "action_reprs": "[a] x -> CLICK\n[b] y -> CLICK",
    }  # fmt: skip
    item = row_item(row, "test_task", 1, 1, (1280, 3000))
    assert (item["boxes"], item["positives"], item["total_steps"]) == ([[10, 20, 30, 40]], ["42"], 2)
    assert item["history"] == ["[a] x -> CLICK"]


def test_page_blocks() -> None:
    # 2,600 high: (2600 - 200) // 800 + 1 = 4 blocks, the last one 200 high
    whole = page_blocks((1280, 2600), [[10.0, 1700.0, 50.0, 50.0]])
    assert whole == [(0, 0, 1280, 1000), (0, 800, 1280, 1800), (0, 1600, 1280, 2600), (0, 2400, 1280, 2600)]
    assert page_blocks((1400, 900), []) == [(0, 0, 1280, 900)]
    # A target 950 high from 850 on ends at 1,800, but from 860 on no block holds it: one more does.
    extra = page_blocks((1280, 3000), [[10.0, 860.0, 50.0, 950.0]])
    assert len(extra) == 5 and any(top <= 860 and bottom >= 1810 for _, top, _, bottom in extra)
    assert extra == page_blocks((1280, 3000), [[10.0, 860.0, 50.0, 950.0]])


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("$1234.50", "1234.5", 1),
        ("1,234.5%", "1234.5", 1),
        ("about 12", "12", 0),  # no number: infinity
        ("1000", "1,000", 0),  # "1,000" is not a float: a list of two
        ("1, 000", "1,000", 1),  # two elements, both numbers: 1 == 1 and 0 == 0
        ("Sea gull", "seagull", 1),
        ("St Petersburg.", "St. Petersburg", 1),
        ("a.b; c", "a.b,c", 1),
        ("ab, c", "a.b,c", 0),  # punctuation counts inside a list
        ("a, b, c", "a,b", 0),
    ],
)
def test_gaia(answer: str, reference: str, right: int) -> None:
    item = {"goal": "q", "level": "1", "answer": reference}
    assert parts("gaia", "validation", item, {"native": answer})["accuracy"] == (right, 1)


def test_gaia_null_is_the_text_none_and_answers_are_actions_too() -> None:
    item = {"goal": "q", "level": "1", "answer": "None"}
    assert parts("gaia", "validation", item, {"native": None})["accuracy"] == (1, 1)
    assert parts("gaia", "validation", item, {"action": {"type": "answer", "text": "none!"}})["accuracy"] == (1, 1)


def test_gaia_answers_of_any_length() -> None:
    item = {"goal": "q", "level": "1", "answer": "Paris"}
    assert parts("gaia", "validation", item, {"native": "Paris" + " " * 200_000})["accuracy"] == (1, 1)


@pytest.mark.parametrize(
    ("answer", "right"), [(12, 1), (12.5, 1), ([1, 12], 1), ({"n": 12}, 1), ("", 0), (None, 0), (True, 0)]
)
def test_t3_answers_that_are_no_text_are_printed(answer: Any, right: int) -> None:
    item = {"goal": "q", "turns": [{"answer": "12"}], "objective": {"whitelist": [["12"]]}}
    assert parts("gta", "t3", item, {"native": {"answer": answer}})["answer"] == (right, 1)


def test_gta_denominators_and_word_boundaries() -> None:
    call = {"tool": "OCR", "arguments": {"image": "a.jpg"}}
    item = {
        "goal": "q", "turns": [call, call, {"answer": "12"}],
        "objective": {"whitelist": [["12", "twelve"]], "blacklist": [["13"]]},
    }  # fmt: skip
    turns = [call, {"tool": "OCR", "arguments": {"image": "b.jpg"}}, {"answer": "It is 12."}]
    found = parts("gta", "step-objective", item, {"native": {"turns": turns}})
    assert found == {"instruction": (3, 3), "tool": (2, 2), "argument": (1, 2), "summary": (1, 1)}
    for answer, right in (("112", 0), ("Twelve", 1), ("12 or 13", 0), ("", 0)):
        end = parts("gta", "end-to-end-objective", item, {"native": {"turns": [call, {"answer": answer}]}})
        assert end["answer"] == (right, 1)
    # Two gold calls of OCR, one predicted: both are hits, so the category's precision is 2 of 1.
    assert end["perception_precision"] == (2, 1) and end["perception_recall"] == (2, 2)


def test_gta_a_prediction_longer_than_the_gold_chain_is_refused() -> None:
    item = {"goal": "q", "turns": [{"tool": "OCR"}]}
    with pytest.raises(Unparsable, match="2 turns for the 1 of the gold chain"):
        parts("gta", "step-objective", item, {"native": {"turns": [{"tool": "OCR"}, {"answer": "x"}]}})


def test_t3_substrings_tools_and_code() -> None:
    item = {
        "goal": "q", "turns": [{"tool": "OCR"}, {"tool": "Calculator"}, {"answer": "12"}],
        "objective": {"whitelist": [["12"]]},
    }  # fmt: skip
    blocks = [{"code": "x = visualizer('a', 'b')\nprint(x)"}, {"code": "print(3 * 4)"}, {"code": "1/0", "error": True}]
    found = parts("gta", "t3", item, {"native": {"answer": "112", "blocks": blocks}})
    assert found == {"answer": (1, 1), "tool": (1, 1), "code": (2, 3)}  # a substring is enough here
    less = parts("gta", "t3", item, {"native": {"answer": "12", "blocks": blocks[:1]}})
    assert less["tool"] == (0, 1)  # nothing computed


def test_t3_code_that_takes_minutes_to_parse_calls_no_tool() -> None:
    # Python 3.11 parses an f-string in time quadratic in its fields: 40,000 take three seconds, 300,000 minutes.
    item = {"goal": "q", "turns": [{"tool": "OCR"}]}
    blocks = [{"code": f"visualizer(f'{'{a}' * 300_000}')"}]
    begun = time.process_time()
    assert parts("gta", "t3", item, {"native": {"blocks": blocks}})["tool"] == (0, 1)
    assert time.process_time() - begun < 2


def test_android_world_counts_only_what_the_agent_called_done() -> None:
    item = {"template": "T", "instance": 0, "difficulty": "easy"}
    assert parts("android_world", "run-py", item, {"native": {"score": 1.0, "done": True}})["success"] == (1, 1)
    assert parts("android_world", "run-py", item, {"native": {"score": 1.0, "done": False}})["success"] == (0, 1)
    assert parts("android_world", "run-py", item, {"native": {"score": 0.5, "done": True}})["success"] == (0.5, 1)


def test_what_did_not_finish_counts_0_or_leaves_the_mean() -> None:
    for benchmark, protocol, item in (
        ("osworld", "verified-50", {"domain": "os", "infeasible": False}),
        ("android_world", "run-py", {"template": "T", "instance": 0, "difficulty": "easy"}),
    ):
        scorer = benchmark_class(benchmark)(protocols.load(benchmark, protocol))
        unfinished = scorer.outcome(scorer.item_model.model_validate({"id": "i", **item}), None)
        assert unfinished.parts == {"success": (0, 1), "success_finished": (0, 0)}


def test_osworld_scores_are_fractional() -> None:
    item = {"domain": "os", "infeasible": False}
    assert parts("osworld", "verified-50", item, {"native": {"score": 0.25}})["success"] == (0.25, 1)


def test_miniwob_raw_reward() -> None:
    item = {"page": "p", "seed": 1}
    won = parts("miniwob", "heldout", item, {"native": {"success": True, "steps": 4}})
    assert won == {"success": (1, 1), "steps": (4, 1)}
    lost = parts("miniwob", "heldout", item, {"native": {"success": False, "steps": 12}})
    assert lost == {"success": (0, 1), "steps": (0, 0)}
