"""Our actions as the data sets write them: tests take a published action to ours and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tracer.action import Action
from tracer.sources.actions import (
    BROWSERGYM,
    GUI_ODYSSEY,
    OPPOSITE,
    PYAUTOGUI,
    Screen,
    Table,
    same,
    thousandths,
    view_direction,
    x_pixels,
    y_pixels,
)
from tracer.sources.pyautogui import KEYS

WRITERS: dict[Callable[..., Any], Callable[[Any, Screen], Any]] = {
    same: lambda value, screen: value,
    x_pixels: lambda value, screen: round(value * screen[0]),
    y_pixels: lambda value, screen: round(value * screen[1]),
    thousandths: lambda value, screen: round(value * 1000),
    view_direction: lambda value, screen: OPPOSITE[value],
}
NAMES = {ours: theirs for theirs, ours in KEYS.items()}


def published(table: Table, action: Action, screen: Screen = (1, 1)) -> tuple[str, dict[str, Any]]:
    """The published name and arguments of our action; raises ``KeyError`` where the data set has none."""
    given = dict(action.arguments)
    for rule in table.rules:
        wanted = {ours for ours, _ in rule.arguments.values()} | set(rule.fixed)
        fits = rule.type == action.type and wanted == set(given)
        if fits and all(given[key] == value for key, value in rule.fixed.items()):
            pairs = rule.arguments.items()
            return rule.name, {key: WRITERS[read](given[ours], screen) for key, (ours, read) in pairs}
    raise KeyError(f"no published action for {action.to_json()}")


def gui_odyssey(action: Action) -> str:
    """The string that the official converter writes for an action, for example ``CLICK: (500, 120)``."""
    name, arguments = published(GUI_ODYSSEY, action)
    if name in ("CLICK", "LONG_PRESS"):
        return f"{name}: ({arguments['x']}, {arguments['y']})"
    if name == "SCROLL":
        return f"{name}: {arguments['direction'].upper()}"
    return f"{name}: {arguments['text']}" if name == "TYPE" else name


def agenttrek(action: Action) -> str:
    """The BrowserGym call of an action; raises ``KeyError`` for one that it has no call for."""
    if action.type == "tool_call":
        given = action.tool_arguments
        return f"{action.get('name')}({', '.join(f'{name}={value!r}' for name, value in given.items())})"
    if action.type == "scroll":
        sign = 1 if action.get("direction") == "up" else -1
        return f"scroll(0, {sign * action.get('amount')!r})"
    name, arguments = published(BROWSERGYM, action)
    return f"{name}({', '.join(repr(value) for value in arguments.values())})"


def mm_traj(action: Action) -> str:
    """A code block that does what the action says; raises ``KeyError`` for an action that is not a tool's."""
    if action.type == "answer":
        return f"final_answer({action.get('text')!r})"
    if action.type != "tool_call":
        raise KeyError(f"no tool for {action.to_json()}")
    if action.get("name") == "python":
        return str(action.tool_arguments["code"])
    arguments = ", ".join(f"{name}={value!r}" for name, value in action.tool_arguments.items())
    return f"print({action.get('name')}({arguments}))"


def key_names(key: str) -> list[str]:
    """The pyautogui names of a key or chord of ours, ``Control+c`` or ``Control++``."""
    return [NAMES.get(name, name) for name in re.split(r"(?<=[^+])\+", key)]


def agentnet(found: Sequence[Action]) -> str:
    """The code of actions; raises ``KeyError`` for one that AgentNet has no call for."""
    return "\n".join(line for action in found for line in _lines(action))


def _lines(action: Action) -> Iterator[str]:
    if action.type == "drag":
        yield f"pyautogui.moveTo(x={action.get('x')!r}, y={action.get('y')!r})"
        yield f"pyautogui.dragTo(x={action.get('to_x')!r}, y={action.get('to_y')!r}, button='left')"
    elif action.type == "scroll":
        if action.point:
            yield f"pyautogui.moveTo(x={action.get('x')!r}, y={action.get('y')!r})"
        sign = 1 if action.get("direction") in ("down", "left") else -1
        name = "scroll" if action.get("direction") in ("up", "down") else "hscroll"
        yield f"pyautogui.{name}({sign * round(action.get('amount', 1))})"
    elif action.type == "key":
        names = key_names(action.get("key"))
        yield f"pyautogui.hotkey({names!r})" if len(names) > 1 else f"pyautogui.press({names[0]!r})"
    elif action.type == "wait":
        yield f"computer.wait({action.get('seconds', '')})"
    elif action.type == "terminate":
        yield f"computer.terminate(status={action.get('status')!r})"
    else:
        name, arguments = published(PYAUTOGUI, action)
        module = "computer" if name == "tripleClick" else "pyautogui"
        yield f"{module}.{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
