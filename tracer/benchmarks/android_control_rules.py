"""AndroidControl under its four protocols, one function each. Sources and figures: reference in docs/benchmarks.md.

Each takes an item and a prediction and returns the parts of its metrics; a prediction of None is a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from tracer.benchmarks import os_atlas
from tracer.benchmarks.android_control import SUBSPLITS, Item, Prediction, smallest_node
from tracer.benchmarks.gui_r1 import Answer, answer_of, gui_r1_parts
from tracer.scoring.contract import Outcome, Part, Parts, Unparsable
from tracer.scoring.conventions import OPPOSITE, ConventionError, swipe_direction, tool_call
from tracer.scoring.drivers import ScreenBenchmark
from tracer.scoring.matching import contains_either_way, enlarge, within
from tracer.scoring.protocol import BenchmarkProtocol

Rule = Callable[[Item, Prediction | None], Parts]


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
        makers: dict[str, Callable[[BenchmarkProtocol, Any], Rule]] = {
            "os_atlas": os_atlas_rule,
            "gui_r1": gui_r1_rule,
            "candidate_box": candidate_box_rule,
            "smallest_node": smallest_node_rule,
        }
        self.rule = makers[self.match.rule](protocol, self.match)

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one step, by the protocol's rule."""
        # An episode in several sub-splits counts for the first, as in OS-Atlas's script.
        first = next((name for name in SUBSPLITS if name in item.subsplits), None)
        return Outcome(
            parts=self.rule(item, prediction),
            cluster=str(item.episode),
            size=item.steps,
            groups=(f"type={item.action.action_type}", *([f"split={first}"] if first else [])),
        )


def os_atlas_line(item: Item) -> str:
    """The recorded action as OS-Atlas writes it; its scroll keeps the data set's direction words."""
    action = item.action
    if action.action_type in ("click", "long_press"):
        x, y = _point(item)
        return os_atlas.point_line(action.action_type.upper(), x / item.width, y / item.height)
    names = {"navigate_back": "PRESS_BACK", "navigate_home": "PRESS_HOME", "wait": "WAIT"}
    if action.action_type in names:
        return names[action.action_type]
    if action.action_type == "scroll":
        return f"SCROLL [{(action.direction or '').upper()}]"
    if action.action_type == "open_app":
        return f"OPEN_APP [{action.app_name or ''}]"
    return f"TYPE [{action.text or ''}]"


def os_atlas_rule(protocol: BenchmarkProtocol, match: OsAtlasMatch) -> Rule:
    """P1 (OS-Atlas, UI-TARS): type accuracy, grounding among type-matched clicks, step success."""

    def parts(item: Item, prediction: Prediction | None) -> Parts:
        reference = os_atlas_line(item)
        ours = "" if prediction is None else os_atlas.line(prediction, protocol, (item.width, item.height))
        kind = reference.split()[0]
        same = bool(ours.split()) and ours.split()[0] == kind
        right = same and os_atlas.android_control_match(ours, reference, match.radius, match.text_f1_above)
        return {
            "type": (same, 1),
            "grounding": (right and kind == "CLICK", same and kind == "CLICK"),
            "step": (right, 1),
        }

    return parts


GUI_R1_TYPES = {"input_text": "type", "navigate_back": "press_back", "navigate_home": "press_home"}


def gui_r1_rule(protocol: BenchmarkProtocol, match: GuiR1Match) -> Rule:
    """P2 (GUI-R1): place and text are judged whether or not the type matched; other steps have no step score."""

    def parts(item: Item, prediction: Prediction | None) -> Parts:
        action = item.action
        written = {"open_app": action.app_name, "input_text": action.text, "scroll": action.direction}
        reference = Answer(
            action=GUI_R1_TYPES.get(action.action_type, action.action_type),
            point=_point(item) if action.action_type in ("click", "long_press") else None,
            text=written.get(action.action_type) or "",
        )
        ours = None if prediction is None else answer_of(prediction, protocol, (item.width, item.height))
        return gui_r1_parts(ours, reference, (item.width, item.height), match.radius, match.text_f1_from)

    return parts


def candidate_box_rule(protocol: BenchmarkProtocol, match: BoxMatch) -> Rule:
    """P3 (Qwen2.5-VL's evaluation, InfiGUI-R1): type match, exact match, and exact clicks of all recorded clicks."""

    def parts(item: Item, prediction: Prediction | None) -> Parts:
        same, right, kind = False, False, ""
        if prediction is not None:
            ours, resized = _mobile_use(prediction, protocol, item)
            kind = str(ours.get("action"))
            same, right = _box_match(item, ours, resized, match, protocol.strict)
        return {
            "type": (same, 1),
            "grounding": (right and kind == "click", item.action.action_type == "click"),
            "step": (right, 1),
        }

    return parts


def _mobile_use(prediction: Prediction, protocol: BenchmarkProtocol, item: Item) -> tuple[dict[str, Any], list[int]]:
    """The ``mobile_use`` arguments of a prediction, and the size of the image their pixels are of."""
    size = [item.width, item.height]
    if prediction.native is not None or prediction.convention == "qwen2.5-vl":
        try:
            native = prediction.native if prediction.native is not None else tool_call(prediction.text or "")
        except ConventionError as error:
            raise Unparsable(str(error)) from error
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


SWIPES = {"up": [0, -1], "down": [0, 1], "left": [-1, 0], "right": [1, 0]}


def _box_match(
    item: Item, ours: Mapping[str, Any], resized: list[int], match: BoxMatch, strict: bool
) -> tuple[bool, bool]:
    """(type match, exact match) of P3."""
    action, kind = item.action, ours.get("action")
    if action.action_type in ("click", "long_press"):
        if kind != action.action_type:
            return False, False
        x, y = _point(item)
        return True, _hits(_pair(ours, "coordinate"), item, (x, y), resized, match)
    if action.action_type == "input_text":
        return (True, _text_match(ours, action.text, strict)) if kind == "type" else (False, False)
    if action.action_type == "open_app":
        if kind == "open":
            return True, _text_match(ours, action.app_name, strict)
        if kind == "click" and item.boxes:
            left, top, right, bottom = item.boxes[0]
            centre = ((left + right) / 2, (top + bottom) / 2)
            return True, _hits(_pair(ours, "coordinate"), item, centre, resized, match)
        return False, False
    if action.action_type == "scroll":
        if kind != "swipe":
            return False, False
        # The record has the screen's direction, a swipe is the finger's.
        wanted = OPPOSITE[action.direction or "up"]
        start, end = (
            (x / resized[0], y / resized[1]) for x, y in (_pair(ours, "coordinate"), _pair(ours, "coordinate2"))
        )
        return True, swipe_direction(start, end) == wanted
    if action.action_type == "wait":
        return (True, True) if kind == "wait" else (False, False)
    button = {"navigate_back": "back", "navigate_home": "home"}[action.action_type]
    return (True, str(ours.get("button")).strip().lower() == button) if kind == "system_button" else (False, False)


def _hits(
    point: tuple[float, float], item: Item, centre: tuple[float, float], resized: list[int], match: BoxMatch
) -> bool:
    """In an enlarged candidate box, or near enough to the recorded point, both in fractions of the screen."""
    ours = (point[0] / resized[0], point[1] / resized[1])
    for box in item.boxes:
        scaled = (box[0] / item.width, box[1] / item.height, box[2] / item.width, box[3] / item.height)
        if within(ours, enlarge(scaled, match.enlarge)):
            return True
    across = (centre[0] / item.width - ours[0]) * resized[0]
    down = (centre[1] / item.height - ours[1]) * resized[1]
    return math.hypot(across, down) <= match.radius * max(resized)


def _text_match(ours: Mapping[str, Any], reference: str | None, strict: bool) -> bool:
    written = ours.get("text")
    if not isinstance(written, str):
        raise Unparsable(f"'text' has to be a string, not {str(written)[:80]!r}")
    return contains_either_way(written.lower().strip(), (reference or "").lower().strip(), strict)


def smallest_node_rule(protocol: BenchmarkProtocol, match: NodeMatch) -> Rule:
    """P4 (UGround, after the AndroidControl paper)."""

    def parts(item: Item, prediction: Prediction | None) -> Parts:
        if prediction is None:
            return {"step": (0, 1), "grounding": (0, 0)}
        ours = _recorded(prediction, protocol, item)
        right, grounded = _node_match(item, ours)
        return {"step": (right, 1), "grounding": (right and grounded, grounded)}

    return parts


def _node_match(item: Item, ours: Mapping[str, Any]) -> tuple[bool, bool]:
    """(right, whether the step was one of grounding) of P4."""
    action, kind = item.action, ours.get("action_type")
    reference = action.action_type
    if kind == reference and kind in ("click", "long_press"):
        node = smallest_node(item.nodes, _point(item))
        return node is not None and within((_number(ours, "x"), _number(ours, "y")), node.box), True
    if reference == "open_app" and kind == "click":
        return _names(item, (_number(ours, "x"), _number(ours, "y")), action.app_name), True
    if reference == "navigate_back" and kind == "click":
        return _names(item, (_number(ours, "x"), _number(ours, "y")), "back"), True
    if reference == "click" and kind == "open_app":
        return _names(item, _point(item), str(ours.get("app_name", ""))), False
    if reference == "click" and kind == "navigate_back":
        return _names(item, _point(item), "back"), False
    return all(ours.get(key) == value for key, value in action.fields().items()), False


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


def _pair(call: Mapping[str, Any], name: str) -> tuple[float, float]:
    value = call.get(name)
    if not isinstance(value, list) or len(value) != 2:
        raise Unparsable(f"{name!r} has to be a pair of numbers, not {str(value)[:80]!r}")
    return _finite(value[0], name), _finite(value[1], name)


def _number(call: Mapping[str, Any], name: str) -> float:
    return _finite(call.get(name), name)


def _finite(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unparsable(f"{name!r} has to be a finite number, not {str(value)[:80]!r}")
    return float(value)
