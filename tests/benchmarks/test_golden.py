"""Every rule of the benchmarks with figures worked out by hand; the working stands beside each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tracer.benchmarks.android_control import Node, candidate_boxes
from tracer.benchmarks.mind2web import page_blocks, row_item
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import Outcome, benchmark_class


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
    # The value of a CLICK counts on neither side; a token of punctuation is dropped.
    noisy = {"native": {"op": "CLICK", "value": "x", "point": [5, 5]}}
    assert parts("mind2web", "coordinate-task", web("CLICK"), noisy)["step"] == (1, 1)
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
    assert parts("mind2web", "candidate-task", web("CLICK"), {"native": {"op": "CLICK"}})["element"] == (0, 1)
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


def test_android_world_counts_only_what_the_agent_called_done() -> None:
    item = {"template": "T", "instance": 0, "difficulty": "easy"}
    assert parts("android_world", "run-py", item, {"native": {"score": 1.0, "done": True}})["success"] == (1, 1)
    assert parts("android_world", "run-py", item, {"native": {"score": 1.0, "done": False}})["success"] == (0, 1)
    assert parts("android_world", "run-py", item, {"native": {"score": 0.5, "done": True}})["success"] == (0.5, 1)


def test_osworld_scores_are_fractional() -> None:
    item = {"domain": "os", "infeasible": False}
    assert parts("osworld", "verified-50", item, {"native": {"score": 0.25}})["success"] == (0.25, 1)


def test_miniwob_raw_reward() -> None:
    item = {"page": "p", "seed": 1}
    won = parts("miniwob", "heldout", item, {"native": {"success": True, "steps": 4}})
    assert won == {"success": (1, 1), "steps": (4, 1)}
    lost = parts("miniwob", "heldout", item, {"native": {"success": False, "steps": 12}})
    assert lost == {"success": (0, 1), "steps": (0, 0)}
