"""AgentNet's action code, ``pyautogui`` and ``computer`` calls, as actions. It is parsed, never run.

One published step may hold several calls. A ``dragTo`` begins, and a scroll or a click without a place happens, where
the calls before it left the pointer; a ``moveTo`` right before them is part of them, and every other call is an action
of its own. The wheel turns content under a still finger: ``scroll`` with a positive count shows what is above, for
which a finger moves down. Keys are named as in KeyboardEvent.key; in a chord, the case of a letter says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tracer.action import Action, ActionError
from tracer.sources.actions import PYAUTOGUI, broken
from tracer.sources.boundary import MAX_STEPS, too_many_steps
from tracer.sources.calls import Call, calls
from tracer.sources.source import Refused

# The commonest step by far, read without a syntax tree; a test compares it with the tree.
PLAIN = re.compile(r"pyautogui\.(click|doubleClick|rightClick|moveTo)\(x=(0\.[0-9]{1,17}), y=(0\.[0-9]{1,17})\)")
PLAIN_TYPES = {"click": "click", "doubleClick": "double_click", "rightClick": "right_click", "moveTo": "move"}

ALIASES = {"typewrite": "write", "triple_click": "tripleClick", "leftClick": "click"}
BUTTONS = {
    "left": "click",
    "primary": "click",
    "right": "rightClick",
    "secondary": "rightClick",
    "middle": "middleClick",
}
CLICKS = {1: "click", 2: "doubleClick", 3: "tripleClick"}

KEYS = {
    "ctrl": "Control", "alt": "Alt", "shift": "Shift", "command": "Meta", "enter": "Enter", "esc": "Escape",
    "tab": "Tab", "backspace": "Backspace", "delete": "Delete", "insert": "Insert", "space": "Space", "up": "ArrowUp",
    "down": "ArrowDown", "left": "ArrowLeft", "right": "ArrowRight", "pageup": "PageUp", "pagedown": "PageDown",
    "home": "Home", "end": "End", "capslock": "CapsLock", "numlock": "NumLock", "scrolllock": "ScrollLock",
    "printscreen": "PrintScreen", "pause": "Pause", "altgr": "AltGraph", "apps": "ContextMenu", "fn": "Fn",
    "volumeup": "AudioVolumeUp", "volumedown": "AudioVolumeDown", "volumemute": "AudioVolumeMute",
    "playpause": "MediaPlayPause", "nexttrack": "MediaTrackNext", "prevtrack": "MediaTrackPrevious",
    "stop": "MediaStop", "accept": "Accept", "clear": "Clear", "convert": "Convert", "execute": "Execute",
    "final": "FinalMode", "hangul": "HangulMode", "hanja": "HanjaMode", "help": "Help", "junja": "JunjaMode",
    "kana": "KanaMode", "kanji": "KanjiMode", "launchapp1": "LaunchApplication1", "launchapp2": "LaunchApplication2",
    "launchmail": "LaunchMail", "launchmediaselect": "LaunchMediaPlayer", "modechange": "ModeChange",
    "nonconvert": "NonConvert", "print": "Print", "select": "Select", "sleep": "Standby",
    **{f"browser{name.lower()}": f"Browser{name}"
       for name in ("Back", "Favorites", "Forward", "Home", "Refresh", "Search", "Stop")},
    **{f"f{number}": f"F{number}" for number in range(1, 25)},
}  # fmt: skip
# Spellings without their underscores; "num5" and "multiply" give the character that the key of the number pad does.
KEY_ALIASES = {
    "return": "enter", "escape": "esc", "del": "delete", "control": "ctrl", "win": "command", "cmd": "command",
    "super": "command", "meta": "command", "option": "alt", "pgup": "pageup", "pgdn": "pagedown", "menu": "apps",
    **dict.fromkeys(("prtsc", "prtscr", "prntscrn", "prntscr"), "printscreen"), "hanguel": "hangul",
    **{f"arrow{name}": name for name in ("up", "down", "left", "right")},
    **{f"{name}{side}": ours for side in ("left", "right", "l", "r")
       for name, ours in (("ctrl", "ctrl"), ("alt", "alt"), ("shift", "shift"), ("option", "alt"), ("win", "command"),
                          ("cmd", "command"), ("super", "command"), ("meta", "command"), ("command", "command"))},
    **{f"media{name}": name for name in ("volumeup", "volumedown", "volumemute", "playpause", "stop")},
    "medianext": "nexttrack", "mediaprevious": "prevtrack", "medianexttrack": "nexttrack",
    "mediaprevtrack": "prevtrack",
    **{f"num{digit}": str(digit) for digit in range(10)}, "add": "+", "subtract": "-", "multiply": "*", "divide": "/",
    "decimal": ".", "separator": ",", "yen": "\u00a5",
    " ": "space", "\n": "enter", "\r": "enter", "\t": "tab",
}  # fmt: skip
HARMLESS = ("interval", "duration", "tween", "logScreenshot", "_pause", "mouseDownUp")
"""How fast and how smoothly: no argument of an action."""
ORDERS = {
    "click": ("x", "y", "clicks", "interval", "button", "duration"), "moveTo": ("x", "y", "duration", "tween"),
    "dragTo": ("x", "y", "duration", "tween", "button"), "write": ("message", "interval"),
    "press": ("keys", "presses", "interval"), "terminate": ("status", "answer"), "wait": ("seconds",),
}  # fmt: skip
ORDER = ("x", "y", "interval", "button", "duration")
"""Of the other clicks."""
STATUSES = {"fail": "failure", "failed": "failure"}
PLACED = ("click", "doubleClick", "tripleClick", "rightClick", "middleClick")
MAX_PRESSES = 100


def actions(code: str) -> tuple[Action, ...]:
    """The actions of a step's code, at least one; raises ``Refused``."""
    plain = PLAIN.fullmatch(code)
    if plain:
        return (Action(PLAIN_TYPES[plain[1]], (("x", float(plain[2])), ("y", float(plain[3])))),)
    return _actions(code)


@lru_cache(maxsize=16_384)
def _actions(code: str) -> tuple[Action, ...]:
    found: list[Action] = []
    for call in calls(code):
        module, _, name = call.name.rpartition(".")
        name = ALIASES.get(name, name)
        if module not in ("pyautogui", "computer"):
            raise Refused("unknown action", f"{call.name[:80]!r} is not pyautogui or computer", "map it, or drop it")
        try:
            _append(found, name, call)
        except ActionError as error:
            raise broken(call.name, error) from error
        if len(found) > MAX_STEPS:
            raise too_many_steps(len(found))
    return tuple(found)


def _append(found: list[Action], name: str, call: Call) -> None:
    if name in ("scroll", "hscroll", "vscroll"):
        arguments = _bound(call, ("clicks", "x", "y"))
        place = _pointer(found) | {axis: arguments[axis] for axis in ("x", "y") if axis in arguments}
        made = _scroll(name, arguments.get("clicks"), place)
    elif name == "dragTo":
        start, arguments = _pointer(found), _bound(call, ORDERS[name])
        if not start:
            raise Refused("broken action", "dragTo without a moveTo before it", "a drag needs its start")
        if arguments.get("button", "left") != "left" or set(arguments) - {"x", "y", "button"}:
            raise Refused("unknown action", f"dragTo with {sorted(arguments)}", "map it, or drop the trajectory")
        made = Action.of("drag", **start, to_x=arguments.get("x"), to_y=arguments.get("y"))
    elif name in PLACED:
        arguments = _bound(call, ORDERS.get(name, ORDER))
        if name == "click":
            name = _click(_whole(arguments.pop("clicks", 1)), arguments.pop("button", "left"))
        elif arguments.get("button") in ("left", "primary"):
            del arguments["button"]
        here = {} if arguments.keys() & {"x", "y"} else _pointer(found)
        made = PYAUTOGUI.canonical(name, {**here, **arguments})
        if not here:
            found.append(made)
            return
    else:
        found += _single(name, call)
        return
    if found and found[-1].type == "move":
        found.pop()
    found.append(made)


def _pointer(found: list[Action]) -> dict[str, float]:
    """Where the calls so far left the pointer; empty where they did not place it."""
    for action in reversed(found):
        if action.type == "drag":
            return {"x": action.get("to_x"), "y": action.get("to_y")}
        if action.point:
            return {"x": action.point[0], "y": action.point[1]}
    return {}


def _bound(call: Call, order: tuple[str, ...]) -> dict[str, Any]:
    """The arguments by name. None is pyautogui's default for each, and a place may be one pair instead of x and y."""
    bound = {name: value for name, value in call.bound(order).items() if name not in HARMLESS and value is not None}
    place = bound.get("x")
    if isinstance(place, list | tuple) and len(place) == 2 and "y" not in bound:
        bound |= zip("xy", place, strict=True)
    return bound


def _scroll(name: str, clicks: Any, place: dict[str, float]) -> Action:
    clicks = _whole(clicks)
    if type(clicks) is not int or clicks == 0:
        raise Refused("broken action", f"{name}({clicks!r}) is not a whole number of clicks", "drop the trajectory")
    ahead, back = ("left", "right") if name == "hscroll" else ("down", "up")
    direction = ahead if clicks > 0 else back
    return Action.of("scroll", direction=direction, amount=abs(clicks), **place)


def _single(name: str, call: Call) -> Iterator[Action]:
    if name == "hotkey":
        keys: Any = call.positional or tuple(value for name, value in call.named.items() if name not in HARMLESS)
        keys = keys[0] if len(keys) == 1 and isinstance(keys[0], list | tuple) else keys
        if not keys:
            raise Refused("broken action", "hotkey without a key", "drop the trajectory")
        names = [key_name(key) for key in keys]
        alike = [name.lower() if len(name) == 1 and name.isascii() else name for name in names]
        yield Action.of("key", key="+".join(alike if len(names) > 1 else names))
        return
    arguments = _bound(call, ORDERS.get(name, ORDER))
    if name == "write" and isinstance(arguments.get("message"), list | tuple):  # of keys, by their names
        name, arguments["keys"] = "press", arguments.pop("message")
    if name == "press":
        keys = arguments.pop("keys", arguments.pop("key", None))
        presses = _whole(arguments.pop("presses", 1))
        if arguments or type(presses) is not int or not 1 <= presses <= MAX_PRESSES:
            raise Refused("broken action", f"press with {arguments or presses!r}"[:200], "it takes keys and presses")
        names = [key_name(key) for key in (keys if isinstance(keys, list | tuple) else [keys])]
        if not names:
            raise Refused("broken action", "press without a key", "drop the trajectory")
        if presses * len(names) > MAX_STEPS:
            raise too_many_steps(presses * len(names))
        yield from [Action.of("key", key=key) for key in names] * presses
    elif name == "wait":
        yield Action.of("wait", seconds=arguments.get("seconds", arguments.get("time")))
    elif name == "terminate":
        status = arguments.get("status")
        yield Action.of("terminate", status=STATUSES.get(status, status) if isinstance(status, str) else status)
    else:
        yield PYAUTOGUI.canonical(name, arguments)


def _whole(count: Any) -> Any:
    """A count that is written as a float, such as 3.0, as an integer."""
    return int(count) if isinstance(count, float) and count.is_integer() else count


def _click(clicks: Any, button: Any) -> str:
    name = BUTTONS.get(button) if isinstance(button, str) else None
    if name == "click" and type(clicks) is int and clicks in CLICKS:
        return CLICKS[clicks]
    if name is not None and clicks == 1:
        return name
    raise Refused("unknown action", f"click({clicks=}, {button=})", "map it, or drop the trajectory")


def key_name(key: Any) -> str:
    """Our name of a pyautogui key; raises ``Refused``."""
    if isinstance(key, str):
        plain = key.lower().replace("_", "") if len(key) > 1 else key
        name = KEY_ALIASES.get(plain, plain)
        if name in KEYS:
            return KEYS[name]
        if len(name) == 1 and name.isprintable():
            return name
    raise Refused("unknown key", f"{str(key)[:40]!r} is not a key of pyautogui", "correct it, or drop the trajectory")
