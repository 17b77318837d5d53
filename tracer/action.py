"""An action: what an agent does in one step, on a screen or with a tool.

Coordinates are fractions of the screen in [0, 1], x to the right and y downwards. A scroll's direction is the
direction the finger moves (the content follows it), whatever convention a data set publishes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIRECTIONS = ("up", "down", "left", "right")
OPPOSITE = {"up": "down", "down": "up", "left": "right", "right": "left"}

POINTED = ("click", "double_click", "triple_click", "right_click", "middle_click", "long_press", "move")
"""The actions that are done to one place."""
# type -> (required arguments, optional arguments)
GRAMMAR: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(POINTED, (("x", "y"), ())),
    "drag": (("x", "y", "to_x", "to_y"), ()),
    "scroll": (("direction",), ("x", "y", "amount")),
    "type": (("text",), ("x", "y")),
    "key": (("key",), ()),
    "select": (("text",), ("x", "y")),
    "open_app": (("app",), ()),
    "navigate_back": ((), ()),
    "navigate_home": ((), ()),
    "navigate_recent": ((), ()),
    "wait": ((), ("seconds",)),
    "tool_call": (("name", "arguments"), ()),
    "answer": (("text",), ()),
    "terminate": (("status",), ()),
}
COORDINATES = ("x", "y", "to_x", "to_y")
NUMBERS = (*COORDINATES, "amount", "seconds")
STATUSES = ("success", "failure")
LARGEST = 1e9  # no scroll and no wait is longer
ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


class ActionError(ValueError):
    """An action that the grammar does not allow; the message names the argument and the fix."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action: a type of ``GRAMMAR`` and its arguments. Build it with ``Action.of``, which validates.

    ``arguments`` is a tuple of (name, value) pairs in the grammar's order, so that actions are hashable but for
    the arguments of a tool call, whose value is a JSON text with sorted keys.
    """

    type: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, type: str, /, **arguments: Any) -> Action:
        """The validated action; raises ``ActionError``."""
        if type not in GRAMMAR:
            raise ActionError(f"unknown action type {type!r}; known types: {', '.join(GRAMMAR)}")
        required, optional = GRAMMAR[type]
        given = {name: value for name, value in arguments.items() if value is not None}
        missing = [name for name in required if name not in given]
        unknown = [name for name in given if name not in required + optional]
        if missing or unknown:
            raise ActionError(
                f"action {type!r}: missing arguments {missing}, unknown arguments {unknown}; "
                f"it takes {list(required)} and optionally {list(optional)}"
            )
        if ("x" in given) != ("y" in given):
            raise ActionError(f"action {type!r}: x and y go together")
        pairs = tuple((name, _checked(type, name, given[name])) for name in required + optional if name in given)
        return cls(type, pairs)

    @classmethod
    def from_json(cls, value: str | Mapping[str, Any]) -> Action:
        """The action of a JSON object ``{"type": ..., argument: value, ...}``; raises ``ActionError``."""
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise ActionError(f"not a JSON object: {error}") from error
        if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
            raise ActionError(f"an action is an object with a string 'type', not {str(value)[:80]!r}")
        arguments = dict(value)
        return cls.of(arguments.pop("type"), **{str(name): argument for name, argument in arguments.items()})

    def to_dict(self) -> dict[str, Any]:
        """The action as a JSON object: its type and its arguments."""
        arguments = dict(self.arguments)
        if self.type == "tool_call":
            arguments["arguments"] = json.loads(arguments["arguments"])
        return {"type": self.type, **arguments}

    def to_json(self) -> str:
        """The same as text, with sorted keys: equal actions have equal texts."""
        return ENCODER.encode(self.to_dict())

    def get(self, name: str, default: Any = None) -> Any:
        """An argument's value, or ``default`` for one that is not given."""
        return dict(self.arguments).get(name, default)

    @property
    def point(self) -> tuple[float, float] | None:
        """Where it acts, or None for an action without a place."""
        arguments = dict(self.arguments)
        return (arguments["x"], arguments["y"]) if "x" in arguments else None

    @property
    def tool_arguments(self) -> dict[str, Any]:
        """The arguments of a tool call; empty for every other type."""
        return json.loads(self.get("arguments", "{}"))

    def at(self, x: float, y: float) -> Action:
        """The same action at another place."""
        return Action.of(self.type, **{**dict(self.arguments), "x": x, "y": y})


def _checked(type: str, name: str, value: Any) -> Any:
    where = f"action {type!r}, argument {name!r}"
    if name in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise ActionError(f"{where}: a finite number is needed, not {str(value)[:40]!r}")
        if name in COORDINATES and not 0.0 <= value <= 1.0:
            raise ActionError(f"{where}: {value} is off the screen; coordinates are fractions in [0, 1]")
        if name not in COORDINATES and value < 0:
            raise ActionError(f"{where}: {value} is negative")
        return float(value) + 0.0  # -0.0 becomes 0.0: equal actions have equal texts
    if name == "arguments":
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise ActionError(f"{where}: not JSON: {error}") from error
        if not isinstance(value, Mapping):
            raise ActionError(f"{where}: an object is needed, not {str(value)[:40]!r}")
        try:
            return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ActionError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, str):
        raise ActionError(f"{where}: a string is needed, not {str(value)[:40]!r}")
    allowed = {"direction": DIRECTIONS, "status": STATUSES}.get(name)
    if allowed and value not in allowed:
        raise ActionError(f"{where}: {value[:40]!r} is none of {', '.join(allowed)}")
    if name in ("key", "name", "app") and not value:
        raise ActionError(f"{where}: it is empty")
    return value
