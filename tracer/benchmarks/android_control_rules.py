"""AndroidControl under its four protocols, one function each. Sources and figures: reference in docs/benchmarks.md.

Each takes the protocol, its rules, an item and a prediction, and returns the parts of its metrics; a prediction of None
is a failure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from tracer.action import OPPOSITE
from tracer.benchmarks import os_atlas
from tracer.benchmarks.android_control import SUBSPLITS, Item, Prediction, smallest_node
from tracer.benchmarks.gui_r1 import Answer, answer_of, gui_r1_parts
from tracer.grammars.conventions import swipe_direction
from tracer.scoring.contract import Outcome, Part, Parts, Unparsable
from tracer.scoring.drivers import ScreenBenchmark
from tracer.scoring.matching import contains_either_way, enlarge
from tracer.scoring.protocol import BenchmarkProtocol
from tracer.trajectory import inside


class OsAtlasMatch(Part):
    """P1: distance in the 0-1000 square; F1 of the first words of a text."""

    rule: Literal["os_atlas"]
    radius: float
    text_f1_above: float
    scroll: Literal["screen"]
    """Whose direction a scroll's word names."""


class GuiR1Match(Part):
    """P2: distance in screen fractions, below; token F1 from."""

    rule: Literal["gui_r1"]
    radius: float
    text_f1_from: float
    scroll: Literal["screen"]


class BoxMatch(Part):
    """P3: any candidate box enlarged about its centre, or a distance as a share of the longer side."""

    rule: Literal["candidate_box"]
    enlarge: float
    radius: float


class NodeMatch(Part):
    """P4: the smallest accessibility node that holds the recorded point."""

    rule: Literal["smallest_node"]


class AndroidControl(ScreenBenchmark):
    """AndroidControl steps under one of the four protocols."""

    item_model = Item
    prediction_model = Prediction
    match_model = Annotated[OsAtlasMatch | GuiR1Match | BoxMatch | NodeMatch, Field(discriminator="rule")]

    def __init__(self, protocol: BenchmarkProtocol) -> None:
        super().__init__(protocol)
        rules: dict[str, Callable[..., Parts]] = {
            "os_atlas": os_atlas_rule,
            "gui_r1": gui_r1_rule,
            "candidate_box": candidate_box_rule,
            "smallest_node": smallest_node_rule,
        }
        self.rule = partial(rules[self.match.rule], protocol, self.match)

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one step, by the protocol's rule."""
        # An episode in several sub-splits counts for the first, as in OS-Atlas's script.
        first = next((name for name in SUBSPLITS if name in item.subsplits), None)
        return Outcome(
            parts=self.rule(item, prediction),
            cluster=str(item.episode),
            size=item.steps,
            category=item.action.action_type,
            groups=(f"type={item.action.action_type}", *([f"split={first}"] if first else [])),
        )


def os_atlas_line(item: Item) -> str:
    """The recorded action as OS-Atlas writes it; its scroll keeps the data set's direction words."""
    action = item.action
    if action.action_type in ("click", "long_press"):
        x, y = _point(item)
        return os_atlas.point_line(action.action_type.upper(), x / item.width, y / item.height)
    names = {"navigate_back": "PRESS_BACK", "navigate_home": "PRESS_HOME", "wait": "WAIT", "status": "COMPLETE"}
    if action.action_type in names:
        return names[action.action_type]
    if action.action_type == "scroll":
        return f"SCROLL [{(action.direction or '').upper()}]"
    if action.action_type == "open_app":
        return f"OPEN_APP [{action.app_name or ''}]"
    return f"TYPE [{action.text or ''}]"


def os_atlas_rule(protocol: BenchmarkProtocol, match: OsAtlasMatch, item: Item, prediction: Prediction | None) -> Parts:
    """P1 (OS-Atlas, UI-TARS): type accuracy, grounding among type-matched clicks, step success."""
    reference = os_atlas_line(item)
    ours = "" if prediction is None else os_atlas.line(prediction, protocol, (item.width, item.height))
    kind = reference.split()[0]
    same = bool(ours.split()) and ours.split()[0] == kind
    right = same and os_atlas.android_control_match(ours, reference, match.radius, match.text_f1_above)
    click = kind == "CLICK"
    return {"type": (same, 1), "grounding": (right and click, same and click), "step": (right, 1)}


GUI_R1_TYPES = {
    "input_text": "type", "type_text": "type", "navigate_back": "press_back", "navigate_home": "press_home",
    "status": "complete",
}  # fmt: skip


def gui_r1_rule(protocol: BenchmarkProtocol, match: GuiR1Match, item: Item, prediction: Prediction | None) -> Parts:
    """P2 (GUI-R1): place and text are judged whether or not the type matched; other steps have no step score."""
    action = item.action
    reference = Answer(
        action=GUI_R1_TYPES.get(action.action_type, action.action_type),
        point=_point(item) if action.action_type in ("click", "long_press") else None,
        text=action.app_name or action.text or action.direction or "",
    )
    size = (item.width, item.height)
    ours = None if prediction is None else answer_of(prediction, protocol, size)
    return gui_r1_parts(ours, reference, size, match.radius, match.text_f1_from, protocol.strict)


def candidate_box_rule(
    protocol: BenchmarkProtocol, match: BoxMatch, item: Item, prediction: Prediction | None
) -> Parts:
    """P3 (Qwen2.5-VL's evaluation, InfiGUI-R1): type match, exact match, and exact clicks of all recorded clicks."""
    same, right, kind = False, False, ""
    if prediction is not None:
        ours, resized = _mobile_use(prediction, protocol, item)
        kind = str(ours.get("action"))
        same, right = _box_match(item, ours, resized, match, protocol.strict)
    grounding = (right and kind == "click", item.action.action_type == "click")
    return {"type": (same, 1), "grounding": grounding, "step": (right, 1)}


def _mobile_use(prediction: Prediction, protocol: BenchmarkProtocol, item: Item) -> tuple[dict[str, Any], list[int]]:
    """The ``mobile_use`` arguments of a prediction, and the size of the image their pixels are of."""
    size = [item.width, item.height]
    if prediction.native is not None or prediction.convention == "qwen2.5-vl":
        native = prediction.native if prediction.native is not None else _dug_out(prediction.text or "")
        if not isinstance(native, dict):
            raise Unparsable(f"mobile_use arguments are an object, not {str(native)[:80]!r}")
        return native, prediction.resized or size
    action = prediction.read_action((item.width, item.height))
    name = protocol.name_of(action, action.type)
    call: dict[str, Any] = {"action": name}
    if action.point:
        call["coordinate"] = [action.point[0] * item.width, action.point[1] * item.height]
    if name == "swipe":
        call |= {"coordinate": [0, 0], "coordinate2": SWIPES[action.get("direction")]}
    if name == "system_button":
        call["button"] = {"navigate_back": "Back", "navigate_home": "Home", "navigate_recent": "Menu"}[action.type]
    if action.type in ("type", "open_app"):
        call["text"] = action.get("text", action.get("app"))
    return call, size


CALL = '{"name": "mobile_use", "arguments":'


def _dug_out(text: str) -> Any:
    """The arguments of the call in a model's output, as InfiGUI-R1's script finds them; raises ``ValueError``.

    After the thinking, between the tags of a tool call; without an opening tag from where a call begins, without a
    closing one up to the last two braces before a conclusion.
    """
    rest = text.rpartition("</think>")[2]
    if "<tool_call>" in rest:
        body = rest.split("<tool_call>")[1]
    elif CALL in rest:
        body = CALL + rest.partition(CALL)[2]
    else:
        raise Unparsable(f"no mobile_use call: {rest[:80]!r}")
    if "</tool_call>" in body:
        body = body.partition("</tool_call>")[0]
    else:
        body = body.partition("<conclusion>")[0].rsplit("}}", 1)[0] + "}}"
    call = json.loads(body)
    return call.get("arguments") if isinstance(call, dict) else None


SWIPES = {"up": [0, -1], "down": [0, 1], "left": [-1, 0], "right": [1, 0]}


def _box_match(
    item: Item, ours: Mapping[str, Any], resized: list[int], match: BoxMatch, strict: bool
) -> tuple[bool, bool]:
    """(type match, exact match) of P3. Every place of a call is read, needed or not; raises ``Unparsable``."""
    action, kind = item.action, _needed(ours, "action")
    places = {name: _share(ours[name], resized) for name in ("coordinate", "coordinate2") if name in ours}
    if action.action_type in ("click", "long_press"):
        x, y = _point(item)
        centre = (x / item.width, y / item.height)
        same = kind == action.action_type
        return same, same and _hits(_needed(places, "coordinate"), item, centre, resized, match)
    if action.action_type in ("input_text", "type_text"):
        return kind == "type", kind == "type" and _text_match(ours, action.text, strict)
    if action.action_type == "open_app":
        if kind == "click" and item.boxes:
            left, top, right, bottom = _shares(item, item.boxes[0])
            centre = ((left + right) / 2, (top + bottom) / 2)
            return True, _hits(_needed(places, "coordinate"), item, centre, resized, match)
        return kind == "open", kind == "open" and _text_match(ours, action.app_name, strict)
    if action.action_type == "scroll":
        if kind != "swipe":
            return False, False
        # The record has the screen's direction, a swipe is the finger's.
        wanted = OPPOSITE[action.direction or "up"]
        return True, swipe_direction(_needed(places, "coordinate"), _needed(places, "coordinate2")) == wanted
    if action.action_type in ("wait", "status"):
        same = kind == {"wait": "wait", "status": "terminate"}[action.action_type]
        return same, same
    if kind != "system_button":
        return False, False
    button = {"navigate_back": "back", "navigate_home": "home"}[action.action_type]
    return True, _needed(ours, "button").lower().strip() == button


def _needed(call: Mapping[str, Any], name: str) -> Any:
    if name not in call:
        raise Unparsable(f"the call has no {name!r}")
    return call[name]


def _share(value: Any, resized: list[int]) -> tuple[float, float]:
    """A point in pixels of the resized image as shares of its sides; raises ``Unparsable``."""
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(each, int | float) for each in value[:2]):
        raise Unparsable(f"a place has to be a pair of numbers, not {str(value)[:80]!r}")
    return value[0] / resized[0], value[1] / resized[1]


def _shares(item: Item, box: list[float]) -> tuple[float, float, float, float]:
    return box[0] / item.width, box[1] / item.height, box[2] / item.width, box[3] / item.height


def _hits(
    ours: tuple[float, float], item: Item, centre: tuple[float, float], resized: list[int], match: BoxMatch
) -> bool:
    """In an enlarged candidate box, or near enough to the recorded point, all in shares of the screen."""
    if any(inside(ours, enlarge(_shares(item, box), match.enlarge)) for box in item.boxes):
        return True
    across, down = (centre[0] - ours[0]) * resized[0], (centre[1] - ours[1]) * resized[1]
    return math.sqrt(across**2 + down**2) <= match.radius * max(resized)


def _text_match(ours: Mapping[str, Any], reference: str | None, strict: bool) -> bool:
    return contains_either_way(_needed(ours, "text").lower().strip(), (reference or "").lower().strip(), strict)


def smallest_node_rule(
    protocol: BenchmarkProtocol, match: NodeMatch, item: Item, prediction: Prediction | None
) -> Parts:
    """P4 (UGround, after the AndroidControl paper)."""
    if prediction is None:
        return {"step": (0, 1), "grounding": (0, 0)}
    right, grounded = _node_match(item, _recorded(prediction, protocol, item))
    return {"step": (right, 1), "grounding": (right and grounded, grounded)}


PLACED = ("click", "long_press", "type_text")


def _node_match(item: Item, ours: Mapping[str, Any]) -> tuple[bool, bool]:
    """(right, whether the step was one of grounding) of P4."""
    action, kind = item.action, ours.get("action_type")
    kinds = {kind, action.action_type}
    if kind == action.action_type and kind in PLACED:
        node = smallest_node(item.nodes, _point(item))
        hit = node is not None and inside(_place(ours), node.box)
        return hit and (kind != "type_text" or ours.get("text") == action.text), True
    if kinds == {"click", "open_app"}:
        name = action.app_name if kind == "click" else str(ours.get("app_name", ""))
        return _names(item, _answered(item, ours), name), kind == "click"
    if kinds == {"click", "navigate_back"}:
        return _names(item, _answered(item, ours), "back"), True
    return all(ours.get(key) == value for key, value in action.fields().items()), False


def _answered(item: Item, ours: Mapping[str, Any]) -> tuple[float, float]:
    """Where a click went, or would have gone where the answer is another action for it."""
    return _place(ours) if ours.get("action_type") == "click" or "x" in ours else _point(item)


def _names(item: Item, point: tuple[float, float], name: str | None) -> bool:
    """Whether the element at a point carries a name in its text or description."""
    node = smallest_node(item.nodes, point)
    wanted = (name or "").strip().lower()
    return bool(wanted) and node is not None and (wanted in node.text.lower() or wanted in node.description.lower())


def _recorded(prediction: Prediction, protocol: BenchmarkProtocol, item: Item) -> dict[str, Any]:
    """A prediction as an AndroidControl action, pixels and the screen's direction; raises ``Unparsable``."""
    if prediction.native is not None:
        if not isinstance(prediction.native, dict):
            raise Unparsable(f"an AndroidControl action is an object, not {str(prediction.native)[:80]!r}")
        return prediction.native
    action = prediction.read_action((item.width, item.height))
    call: dict[str, Any] = {"action_type": protocol.name_of(action, action.type)}
    if action.type == "type" and item.action.action_type == "type_text":
        call["action_type"] = "type_text"
    if action.type == "terminate":
        call["goal_status"] = "successful" if action.get("status") == "success" else "infeasible"
    if action.point:
        call |= {"x": action.point[0] * item.width, "y": action.point[1] * item.height}
    if action.type == "scroll":
        call["direction"] = OPPOSITE[action.get("direction")]
    if action.type == "open_app":
        call["app_name"] = action.get("app")
    if action.type == "type":
        call["text"] = action.get("text")
    return call


def _point(item: Item) -> tuple[float, float]:
    return float(item.action.x or 0), float(item.action.y or 0)


def _place(call: Mapping[str, Any]) -> tuple[float, float]:
    """The point of an action in pixels; raises ``Unparsable``."""
    for name in ("x", "y"):
        value = call.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unparsable(f"{name!r} has to be a number, not {str(value)[:80]!r}")
    return float(call["x"]), float(call["y"])
