"""Our actions as code of pyautogui, as OSWorld's agents write it: what ``tracer.sources.pyautogui`` reads, backwards.

``DONE``, ``FAIL`` and ``WAIT`` are words of OSWorld's own. Keys are pressed on an American keyboard.
"""

from __future__ import annotations

import string

from tracer.action import Action
from tracer.environments.acting import UnsupportedAction
from tracer.sources.actions import PYAUTOGUI
from tracer.sources.pyautogui import KEYS, key_name
from tracer.sources.source import Refused

WORDS = {"answer": "DONE", "wait": "WAIT"}
STATUSES = {"success": "DONE", "failure": "FAIL"}
SCROLL = 5
"""The clicks of the wheel of a scroll without an amount."""
# X11 has no key "command".
_KEYS = {ours: theirs for theirs, ours in KEYS.items()} | {"Meta": "win"}
_CALLS = {rule.type: rule.name for rule in PYAUTOGUI.rules if rule.type != "type"}
_TYPED = frozenset(string.printable) - {"\x0b", "\x0c"}
_LESS = "pyautogui.hotkey('shift', ',')"
"""What types a "<", where pyautogui types a ">" on X11. OSWorld's own fix breaks texts with quotes or line ends."""


def code(action: Action, width: int, height: int) -> str:
    """The code of one action, on a screen of this size in pixels. Raises ``UnsupportedAction``."""
    kind = action.type
    place = _pixels(action, "x", "y", width, height) if action.point else ""
    if kind in _CALLS:
        return f"pyautogui.{_CALLS[kind]}({place})"
    if kind == "drag":
        to = _pixels(action, "to_x", "to_y", width, height)
        return f"pyautogui.moveTo({place}); pyautogui.dragTo({to}, duration=0.5, button='left')"
    if kind == "scroll":
        return _scroll(action, place)
    if kind == "type":
        click = [f"pyautogui.click({place})"] if place else []
        return "; ".join((*click, *_typed(action.get("text"))))
    if kind == "key":
        keys = [_key(name) for name in _chord(action.get("key"))]
        return f"pyautogui.press({keys[0]!r})" if len(keys) == 1 else f"pyautogui.hotkey({', '.join(map(repr, keys))})"
    if kind in WORDS or kind == "terminate":
        return WORDS.get(kind) or STATUSES[action.get("status")]
    raise UnsupportedAction(f"pyautogui has nothing for {action.to_json()}")


def _pixels(action: Action, across: str, down: str, width: int, height: int) -> str:
    return f"x={round(action.get(across) * (width - 1))}, y={round(action.get(down) * (height - 1))}"


def _scroll(action: Action, place: str) -> str:
    # The finger's direction: a finger that moves down shows what lies above, which the wheel calls positive.
    direction, clicks = action.get("direction"), max(1, round(action.get("amount", SCROLL)))
    name = "hscroll" if direction in ("left", "right") else "scroll"
    sign = "" if direction in ("left", "down") else "-"
    return f"pyautogui.{name}({sign}{clicks}{place and ', '}{place})"


def _typed(text: str) -> list[str]:
    strange = sorted(set(text) - _TYPED)
    if strange:
        raise UnsupportedAction(f"pyautogui cannot type {''.join(strange)[:80]!r}")
    calls = []
    for number, piece in enumerate(text.split("<")):
        calls += [_LESS] * (number > 0) + [f"pyautogui.write({piece!r})"] * bool(piece)
    return calls or ["pyautogui.write('')"]


def _chord(keys: str) -> list[str]:
    """The keys of a chord such as "Control+Shift+a"; the last one may be a plus."""
    *held, last = keys[:-1].split("+")
    return [*held, last + keys[-1]]


def _key(name: str) -> str:
    try:
        ours = name if name in _KEYS else key_name(name)
    except Refused as error:
        raise UnsupportedAction(f"pyautogui has no key {name[:80]!r}") from error
    return _KEYS.get(ours, ours)
