"""How model families write an action, read into our own.

Each family has its own coordinates and its own idea of a scroll's direction; scoring them by one rule needs one form.
A text is read, never repaired: what does not follow its convention raises ``ConventionError``.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tracer.action import OPPOSITE, Action
from tracer.grammars.literal import Literal as LiteralGrammar
from tracer.trajectory import State

Convention = Literal["literal", "os-atlas", "odyssey", "qwen2.5-vl", "qwen3-vl", "ui-tars", "ui-tars-1.5", "gui-r1"]
Size = tuple[int, int]
LONGEST = 100_000  # characters of a text worth reading: a step's answer has a few hundred


class ConventionError(ValueError):
    """A text that does not follow its convention."""


def parse(text: str, convention: str, *, size: Size, resized: Size | None = None) -> Action:
    """The action a model's raw output asks for.

    ``size`` is the screenshot's (width, height) in pixels, ``resized`` that of the image the model saw, where its
    coordinates are pixels of it. Raises ``ConventionError``.
    """
    if len(text) > LONGEST:
        raise ConventionError(f"{len(text)} characters; an answer longer than {LONGEST} is not read")
    if convention not in READERS:
        raise ConventionError(f"unknown convention {convention!r}; known: {', '.join(READERS)}")
    try:
        return READERS[convention](text, resized or size)
    except (ValueError, OverflowError) as error:  # an ActionError, or a number of too many digits for Python
        raise ConventionError(str(error)) from error


def smart_resize(size: Size, factor: int = 28, min_pixels: int = 56 * 56, max_pixels: int = 14 * 14 * 4 * 1280) -> Size:
    """The (width, height) that Qwen2-VL's image processor gives an image.

    Both sides become multiples of ``factor`` and their product falls within the limits, the aspect kept as nearly as
    that allows. Qwen2.5-VL and UI-TARS use 28, Qwen3-VL 32. Raises ``ConventionError`` for a side ratio over 200.
    """
    width, height = size
    if min(size) < 1 or max(size) / min(size) > 200:
        raise ConventionError(f"an image of {width} x {height} pixels is too narrow to be resized")
    wide, high = (max(factor, round(side / factor) * factor) for side in size)
    if wide * high > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        wide, high = (max(factor, math.floor(side / shrink / factor) * factor) for side in size)
    elif wide * high < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        wide, high = (math.ceil(side * grow / factor) * factor for side in size)
    return wide, high


def point(value: Any, scale: tuple[float, float]) -> dict[str, float]:
    """{"x", "y"} in fractions from a pair, or from a box's corners (its centre); raises ``ConventionError``."""
    numeric = isinstance(value, list | tuple) and all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in value
    )
    if not numeric or len(value) not in (2, 4):
        raise ConventionError(f"a point of two numbers is needed, not {str(value)[:80]!r}")
    x, y = value if len(value) == 2 else ((value[0] + value[2]) / 2, (value[1] + value[3]) / 2)
    return {"x": x / scale[0], "y": y / scale[1]}


def _forecast_line(text: str, _: Size) -> Action:
    reading = LiteralGrammar().read(text, State(goal=""), 1)
    if reading.forecast is None:
        raise ConventionError(reading.error)
    return reading.forecast[0].action


THOUSAND = (1000.0, 1000.0)
OS_ATLAS = re.compile(r"([A-Z_]+)\s*:?(.*)", re.DOTALL)
OS_ATLAS_POINT = re.compile(r"^<point>\s*\[\[\s*(-?\d+)\s*,\s*(-?\d+)\s*\]\]\s*</point>?$")
SUCCESS, FAILURE = Action.of("terminate", status="success"), Action.of("terminate", status="failure")
BACK, HOME, RECENT = (Action.of(f"navigate_{where}") for where in ("back", "home", "recent"))
WAIT = Action.of("wait")
PLAIN = {
    "PRESS_BACK": BACK, "PRESS_HOME": HOME, "PRESS_RECENT": RECENT, "WAIT": WAIT, "COMPLETE": SUCCESS,
    "IMPOSSIBLE": FAILURE,
}  # fmt: skip


def _os_atlas(text: str, _: Size) -> Action:
    """``actions:`` and ``CLICK <point>[[x,y]]</point>``, 0 to 1000; a scroll names the screen's direction."""
    match = OS_ATLAS.match(text.rpartition("actions:\n")[2].removesuffix("<|im_end|>").strip())
    if match is None:
        raise ConventionError(f"no OS-Atlas action: {text[:80]!r}")
    name, rest = match[1], match[2].strip()
    inner = rest[1:-1] if rest.startswith("[") and rest.endswith("]") and not rest.startswith("[[") else rest
    if name in ("CLICK", "LONG_PRESS"):
        found = OS_ATLAS_POINT.match(rest)
        if found is None:
            raise ConventionError(f"no <point>[[x,y]]</point>: {text[:80]!r}")
        return Action.of(name.lower(), **point([int(number) for number in found.groups()], THOUSAND))
    if name == "TYPE":
        return Action.of("type", text=inner)
    if name == "OPEN_APP":
        return Action.of("open_app", app=inner)
    if name == "SCROLL" and inner.lower() in OPPOSITE:
        return Action.of("scroll", direction=OPPOSITE[inner.lower()])
    if name in PLAIN:
        return PLAIN[name]
    raise ConventionError(f"no OS-Atlas action: {text[:80]!r}")


def _odyssey(text: str, _: Size) -> Action:
    """GUI-Odyssey's ``CLICK: (x, y)``, 0 to 1000; a scroll names the finger's direction."""
    name, rest = (part.strip() for part in text.strip().partition(":")[::2])
    if name in ("CLICK", "LONG_PRESS"):
        return Action.of(name.lower(), **point(literal(rest), THOUSAND))
    if name == "TYPE":
        return Action.of("type", text=rest)
    if name == "SCROLL" and rest.lower() in OPPOSITE:
        return Action.of("scroll", direction=rest.lower())
    if name in PLAIN:
        return PLAIN[name]
    raise ConventionError(f"no GUI-Odyssey action: {text[:80]!r}")


def _qwen_absolute(text: str, resized: Size) -> Action:
    return mobile_use(tool_call(text), (float(resized[0]), float(resized[1])))


def _qwen_relative(text: str, _: Size) -> Action:
    return mobile_use(tool_call(text), THOUSAND)


def tool_call(text: str) -> dict[str, Any]:
    """The arguments of the first ``<tool_call>`` of a Qwen answer, after its thinking; raises ``ConventionError``."""
    rest = text.rpartition("</think>")[2]
    body = rest.partition("<tool_call>")[2].partition("</tool_call>")[0] if "<tool_call>" in rest else rest
    try:
        call = json.loads(body)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConventionError(f"no tool call in JSON: {body[:80]!r}") from error
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if not isinstance(arguments, dict) or not isinstance(arguments.get("action"), str):
        raise ConventionError(f"no arguments with an action: {body[:80]!r}")
    return arguments


BUTTONS = {"back": BACK, "home": HOME, "menu": RECENT, "enter": Action.of("key", key="Enter")}
SAME = ("click", "long_press", "double_click", "triple_click", "right_click", "middle_click")
CLICKS = {**dict(zip(SAME, SAME, strict=True)), "left_click": "click", "mouse_move": "move"}


def mobile_use(call: Mapping[str, Any], scale: tuple[float, float]) -> Action:
    """Qwen's ``mobile_use`` and ``computer_use`` arguments, coordinates divided by ``scale``.

    A swipe's direction is the finger's; computer_use's scroll counts pixels, positive upwards.
    """
    kind = call["action"]
    if kind in CLICKS:
        return Action.of(CLICKS[kind], **point(call.get("coordinate"), scale))
    if kind == "swipe":
        start, end = point(call.get("coordinate"), scale), point(call.get("coordinate2"), scale)
        return Action.of("scroll", **start, direction=swipe_direction(tuple(start.values()), tuple(end.values())))
    if kind == "scroll" and isinstance(call.get("pixels"), int | float):
        return Action.of("scroll", direction="down" if call["pixels"] > 0 else "up")
    if kind == "left_click_drag":
        raise ConventionError("left_click_drag has no start: it begins where the pointer was")
    if kind in ("type", "answer"):
        return Action.of(kind, text=call.get("text"))
    if kind == "open":
        return Action.of("open_app", app=call.get("text"))
    if kind == "key":
        keys = call.get("keys", call.get("text"))
        return Action.of("key", key="+".join(map(str, keys)) if isinstance(keys, list) else keys)
    if kind == "system_button":
        button = str(call.get("button", "")).strip().lower()
        if button not in BUTTONS:
            raise ConventionError(f"unknown button {button[:40]!r}")
        return BUTTONS[button]
    if kind == "wait":
        return WAIT
    if kind == "terminate":
        return Action.of("terminate", status=call.get("status"))
    raise ConventionError(f"unknown action {kind[:40]!r}")


def swipe_direction(start: Any, end: Any) -> str:
    """Where the finger goes from start to end; a tie is vertical, and no movement is up (InfiGUI-R1's rule)."""
    across, down = end[0] - start[0], end[1] - start[1]
    if abs(across) > abs(down):
        return "right" if across > 0 else "left"
    return "down" if down > 0 else "up"


BOX_TOKENS = re.compile(r"<\|box_(?:start|end)\|>|</?(?:point|bbox)>")
NUMBER = r"(-?\d++(?:\.\d++)?)"
PAIR = re.compile(rf"(?<!\d){NUMBER}[\s,]++{NUMBER}(?:[\s,]++{NUMBER}[\s,]++{NUMBER})?")
TARS_CLICKS = {
    "click": "click", "left_single": "click", "left_double": "double_click", "right_single": "right_click",
    "long_press": "long_press", "hover": "move",
}  # fmt: skip
TARS_PLAIN = {
    "press_back": BACK, "press_home": HOME, "press_appselect": RECENT, "wait": WAIT, "finished": SUCCESS,
    "call_user": FAILURE,
}  # fmt: skip


def _ui_tars_relative(text: str, _: Size) -> Action:
    return _ui_tars(text, THOUSAND)


def _ui_tars_pixels(text: str, resized: Size) -> Action:
    return _ui_tars(text, (float(resized[0]), float(resized[1])))


def _ui_tars(text: str, scale: tuple[float, float]) -> Action:
    """UI-TARS's ``Thought: ...`` and ``Action: click(start_box='(x,y)')``; a scroll names the screen's direction."""
    code = text.rpartition("Action:")[2].strip().split("\n\n")[0]
    name, arguments = call(code)
    place = arguments.get("start_box", arguments.get("point", arguments.get("start_point")))
    if name in TARS_CLICKS:
        return Action.of(TARS_CLICKS[name], **_tars_point(place, scale))
    if name == "drag" or (name == "scroll" and "end_box" in arguments):
        start = _tars_point(place, scale)
        end = _tars_point(arguments.get("end_box", arguments.get("end_point")), scale)
        if name == "drag":
            return Action.of("drag", **start, to_x=end["x"], to_y=end["y"])
        return Action.of("scroll", direction=swipe_direction((start["x"], start["y"]), (end["x"], end["y"])))
    if name == "scroll" and str(arguments.get("direction")).lower() in OPPOSITE:
        return Action.of("scroll", direction=OPPOSITE[str(arguments["direction"]).lower()])
    if name == "type":
        return Action.of("type", text=arguments.get("content"))
    if name == "open_app":
        return Action.of("open_app", app=arguments.get("app_name"))
    if name in ("hotkey", "press"):
        return Action.of("key", key="+".join(str(arguments.get("key", arguments.get("content", ""))).split()))
    if name in TARS_PLAIN:
        return TARS_PLAIN[name]
    raise ConventionError(f"unknown action {name[:40]!r}")


def _tars_point(value: Any, scale: tuple[float, float]) -> dict[str, float]:
    found = PAIR.search(BOX_TOKENS.sub(" ", str(value)))
    if found is None:
        raise ConventionError(f"no point in {str(value)[:80]!r}")
    return point([float(number) for number in found.groups() if number is not None], scale)


def call(code: str) -> tuple[str, dict[str, Any]]:
    """The name and keyword arguments of one Python call of literals; raises ``ConventionError``. Nothing is run."""
    try:
        node = _parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConventionError(f"no call: {code[:80]!r}") from error
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise ConventionError(f"a call with keyword arguments is needed: {code[:80]!r}")
    arguments = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ConventionError(f"unpacked arguments: {code[:80]!r}")
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            raise ConventionError(f"an argument that is not a literal: {code[:80]!r}") from error
    return node.func.id, arguments


def literal(text: str) -> Any:
    """A Python literal; raises ``ConventionError``."""
    if len(text) > LONGEST:
        raise ConventionError(f"{len(text)} characters; a literal longer than {LONGEST} is not read")
    try:
        return ast.literal_eval(_parsed(text.lstrip(" \t")))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ConventionError(f"no literal: {text[:80]!r}") from error


def _parsed(code: str) -> ast.expr:
    """The expression of a text; what its backslashes or comparisons look like to Python is nobody's concern here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code, mode="eval").body


GUI_R1_CLICKS = {"click": "click", "long_press": "long_press", "moveto": "move", "doubleclick": "double_click",
                 "rightclick": "right_click"}  # fmt: skip
GUI_R1_PLAIN = {"press_home": HOME, "press_back": BACK, "press_recent": RECENT, "wait": WAIT, "complete": SUCCESS,
                "impossible": FAILURE}  # fmt: skip


def _gui_r1(text: str, resized: Size) -> Action:
    """GUI-R1's ``<answer>[{'action', 'point', 'input_text'}]</answer>``, pixels of the resized image."""
    answer = gui_r1_answer(text)
    kind, written = answer["action"], str(answer.get("input_text", "")).replace("[", "").replace("]", "").strip()
    if kind in GUI_R1_CLICKS:
        return Action.of(GUI_R1_CLICKS[kind], **point(answer.get("point"), (float(resized[0]), float(resized[1]))))
    if kind in ("type", "select"):
        return Action.of(kind, text=written)
    if kind == "open_app":
        return Action.of("open_app", app=written)
    if kind == "scroll" and written.lower() in OPPOSITE:
        return Action.of("scroll", direction=OPPOSITE[written.lower()])
    if kind in GUI_R1_PLAIN:
        return GUI_R1_PLAIN[kind]
    raise ConventionError(f"unknown action {kind[:40]!r}")


def gui_r1_answer(text: str) -> dict[str, Any]:
    """The first object of a GUI-R1 answer; raises ``ConventionError``."""
    inside, closing, _ = text.partition("<answer>")[2].partition("</answer>")
    answers = literal((inside if closing else text).strip())
    first = answers[0] if isinstance(answers, list) and answers else answers
    if not isinstance(first, dict) or not isinstance(first.get("action"), str):
        raise ConventionError(f"no answer with an action: {text[:80]!r}")
    return first


READERS: dict[str, Callable[[str, Size], Action]] = {
    "literal": _forecast_line,
    "os-atlas": _os_atlas,
    "odyssey": _odyssey,
    "qwen2.5-vl": _qwen_absolute,
    "qwen3-vl": _qwen_relative,
    "ui-tars": _ui_tars_relative,
    "ui-tars-1.5": _ui_tars_pixels,
    "gui-r1": _gui_r1,
}
