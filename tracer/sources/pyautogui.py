"""AgentNet's action code, ``pyautogui`` and ``computer`` calls, as actions. It is parsed, never run.

One published step may hold several calls. A ``moveTo`` belongs to the ``dragTo`` or scroll that follows it and gives
its place; every other call is an action of its own. The wheel turns content under a still finger: ``scroll`` with a
positive count shows what is above, for which a finger moves down. Keys are named as in KeyboardEvent.key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tracer.action import Action, ActionError
from tracer.sources.actions import PYAUTOGUI, broken
from tracer.sources.calls import Call, calls
from tracer.sources.source import Refused

# The commonest step by far, read without a syntax tree; a test compares it with the tree.
PLAIN = re.compile(r"pyautogui\.(click|doubleClick|rightClick|moveTo)\(x=(0\.\d{1,17}), y=(0\.\d{1,17})\)")
PLAIN_TYPES = {"click": "click", "doubleClick": "double_click", "rightClick": "right_click", "moveTo": "move"}

ALIASES = {"typewrite": "write", "triple_click": "tripleClick"}
BUTTONS = {"left": "click", "right": "rightClick", "middle": "middleClick"}
CLICKS = {1: "click", 2: "doubleClick", 3: "tripleClick"}

KEYS = {
    "ctrl": "Control", "alt": "Alt", "shift": "Shift", "command": "Meta", "enter": "Enter", "esc": "Escape",
    "tab": "Tab", "backspace": "Backspace", "delete": "Delete", "insert": "Insert", "space": "Space", "up": "ArrowUp",
    "down": "ArrowDown", "left": "ArrowLeft", "right": "ArrowRight", "pageup": "PageUp", "pagedown": "PageDown",
    "home": "Home", "end": "End", "capslock": "CapsLock", "numlock": "NumLock", "scrolllock": "ScrollLock",
    "printscreen": "PrintScreen", "pause": "Pause", "option": "AltGraph", "apps": "ContextMenu", "fn": "Fn",
    "volumeup": "AudioVolumeUp", "volumedown": "AudioVolumeDown", "volumemute": "AudioVolumeMute",
    "playpause": "MediaPlayPause", "nexttrack": "MediaTrackNext", "prevtrack": "MediaTrackPrevious",
    **{f"f{number}": f"F{number}" for number in range(1, 25)},
}  # fmt: skip
KEY_ALIASES = {
    "return": "enter", "escape": "esc", "del": "delete", "ctrlleft": "ctrl", "ctrlright": "ctrl", "control": "ctrl",
    "altleft": "alt", "altright": "alt", "shiftleft": "shift", "shiftright": "shift", "win": "command",
    "winleft": "command", "winright": "command", "cmd": "command", "super": "command", "meta": "command",
    "optionleft": "option", "optionright": "option", "pgup": "pageup", "pgdn": "pagedown", "prtsc": "printscreen",
    "prtscr": "printscreen", "arrowup": "up", "arrowdown": "down", "arrowleft": "left", "arrowright": "right",
    " ": "space", "\n": "enter", "\r": "enter", "\t": "tab",
}  # fmt: skip
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
            found = _append(found, name, call)
        except ActionError as error:
            raise broken(call.name, error) from error
    return tuple(found)


def _append(found: list[Action], name: str, call: Call) -> list[Action]:
    start = found[-1] if found and found[-1].type == "move" else None
    if name in ("scroll", "hscroll", "vscroll"):
        arguments = call.bound(("clicks", "x", "y"))
        place = {} if start is None else dict(start.arguments)
        place |= {axis: arguments[axis] for axis in ("x", "y") if axis in arguments}
        return [*(found[:-1] if start else found), _scroll(name, arguments.get("clicks"), place)]
    if name == "dragTo":
        if start is None:
            raise Refused("broken action", "dragTo without a moveTo before it", "a drag needs its start")
        arguments = call.bound(("x", "y", "duration", "tween", "button"))
        if arguments.get("button", "left") != "left" or set(arguments) - {"x", "y", "button", "duration"}:
            raise Refused("unknown action", f"dragTo with {sorted(arguments)}", "map it, or drop the trajectory")
        x, y = start.get("x"), start.get("y")
        return [*found[:-1], Action.of("drag", x=x, y=y, to_x=arguments.get("x"), to_y=arguments.get("y"))]
    return [*found, *_single(name, call)]


def _scroll(name: str, clicks: Any, place: dict[str, float]) -> Action:
    if type(clicks) is not int or clicks == 0:
        raise Refused("broken action", f"{name}({clicks!r}) is not a whole number of clicks", "drop the trajectory")
    ahead, back = ("left", "right") if name == "hscroll" else ("down", "up")
    direction = ahead if clicks > 0 else back
    return Action.of("scroll", direction=direction, amount=abs(clicks), **place)


def _single(name: str, call: Call) -> Iterator[Action]:
    if name == "press":
        arguments = call.bound(("keys", "presses"))
        keys = arguments.pop("keys", arguments.pop("key", None))
        presses = arguments.pop("presses", 1)
        if arguments or type(presses) is not int or not 1 <= presses <= MAX_PRESSES:
            raise Refused("broken action", f"press with {arguments or presses!r}", "it takes keys and presses")
        names = [key_name(key) for key in (keys if isinstance(keys, list | tuple) else [keys])]
        if not names:
            raise Refused("broken action", "press without a key", "drop the trajectory")
        yield from (Action.of("key", key=key) for _ in range(presses) for key in names)
    elif name == "hotkey":
        keys = call.positional or tuple(call.named.values())
        keys = keys[0] if len(keys) == 1 and isinstance(keys[0], list | tuple) else keys
        if not keys:
            raise Refused("broken action", "hotkey without a key", "drop the trajectory")
        yield Action.of("key", key="+".join(key_name(key) for key in keys))
    elif name == "wait":
        arguments = call.bound(("seconds",))
        yield Action.of("wait", seconds=arguments.get("seconds", arguments.get("time")))
    elif name == "terminate":
        yield Action.of("terminate", status=call.bound(("status", "answer")).get("status"))
    else:
        order = ("message",) if name == "write" else ("x", "y", "clicks", "interval", "button")
        arguments = call.bound(order)
        if name == "click":
            name = _click(arguments.pop("clicks", 1), arguments.pop("button", "left"))
        for harmless in ("interval", "duration") if name != "write" else ("interval",):
            arguments.pop(harmless, None)
        yield PYAUTOGUI.canonical(name, arguments)


def _click(clicks: Any, button: Any) -> str:
    if button == "left" and clicks in CLICKS:
        return CLICKS[clicks]
    if button in BUTTONS and clicks == 1:
        return BUTTONS[button]
    raise Refused("unknown action", f"click({clicks=}, {button=})", "map it, or drop the trajectory")


def key_name(key: Any) -> str:
    """Our name of a pyautogui key; raises ``Refused``."""
    if isinstance(key, str):
        lower = KEY_ALIASES.get(key.lower(), key.lower())
        if lower in KEYS:
            return KEYS[lower]
        if len(key) == 1 and key.isprintable():
            return key
    raise Refused("unknown key", f"{str(key)[:40]!r} is not a key of pyautogui", "correct it, or drop the trajectory")
