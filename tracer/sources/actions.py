"""Action spaces as tables, one rule per published action.

A rule says which action of ours a published one is, and how each argument is read. What no rule names is refused, never
guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tracer.action import OPPOSITE, Action, ActionError
from tracer.sources.source import Refused

Screen = tuple[int, int]
"""Width and height in pixels."""


Reader = Callable[[Any, Screen], Any]
"""Turns a published argument into ours; the screen matters where coordinates are pixels."""


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ActionError(f"a number is needed, not {str(value)[:40]!r}")
    return value


def same(value: Any, _: Screen) -> Any:
    """As it is."""
    return value


def x_pixels(value: Any, screen: Screen) -> float:
    """Pixels from the left edge."""
    return _number(value) / screen[0]


def y_pixels(value: Any, screen: Screen) -> float:
    """Pixels from the top edge."""
    return _number(value) / screen[1]


def thousandths(value: Any, _: Screen) -> float:
    """Thousandths of the screen."""
    return _number(value) / 1000


def view_direction(value: Any, _: Screen) -> Any:
    """The direction in which the view moves over its content, which is opposite to the finger's."""
    return OPPOSITE.get(value, value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One published action and what it is here."""

    name: str
    """The published action type."""
    type: str
    """Ours, of ``GRAMMAR``."""
    arguments: Mapping[str, tuple[str, Reader]]
    """Published argument -> our argument and how it is read."""
    fixed: Mapping[str, Any]
    """Our arguments that the published name implies."""


def rule(name: str, type: str, fixed: Mapping[str, Any] | None = None, **arguments: Any) -> Rule:
    """A rule; an argument is ``published=ours`` or ``published=(ours, reader)``."""
    pairs = {key: value if isinstance(value, tuple) else (value, same) for key, value in arguments.items()}
    return Rule(name=name, type=type, arguments=pairs, fixed=fixed or {})


class Table:
    """The action space of a data set."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self._by_name: dict[str, Rule] = {rule.name: rule for rule in rules}

    def canonical(self, name: Any, arguments: Mapping[str, Any], screen: Screen = (1, 1)) -> Action:
        """Our action; raises ``Refused``. ``screen`` matters where coordinates are pixels."""
        found = self._by_name.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(self._by_name)
            raise Refused("unknown action", f"{str(name)[:80]!r} is none of {known}", "map it in the adapter's table")
        missing = [key for key in found.arguments if key not in arguments]
        unknown = [key for key in arguments if key not in found.arguments]
        if missing or unknown:
            detail = f"{name!r} lacks {missing} and has the unknown {unknown}"
            raise Refused("broken action", detail, f"it takes {list(found.arguments)}")
        try:
            values = {ours: read(arguments[key], screen) for key, (ours, read) in found.arguments.items()}
            return Action.of(found.type, **values, **found.fixed)
        except ActionError as error:
            raise broken(f"{name!r}", error) from error


def broken(where: str, error: ActionError) -> Refused:
    """The refusal of an action whose arguments are wrong."""
    reasons = {"off the screen": "coordinate off the screen", "unknown action type": "unknown action"}
    reason = next((reason for words, reason in reasons.items() if words in str(error)), "broken action")
    return Refused(reason, f"{where}: {error}", "correct the action, or drop the trajectory")


ANDROID_CONTROL = Table(
    rule("click", "click", x=("x", x_pixels), y=("y", y_pixels)),
    rule("long_press", "long_press", x=("x", x_pixels), y=("y", y_pixels)),
    rule("scroll", "scroll", direction=("direction", view_direction)),
    rule("open_app", "open_app", app_name="app"),
    rule("input_text", "type", text="text"),
    # Of an earlier release: it clicks, types and presses Enter. The adapter adds the Enter.
    rule("type", "type", text="text", x=("x", x_pixels), y=("y", y_pixels)),
    rule("navigate_home", "navigate_home"),
    rule("navigate_back", "navigate_back"),
    rule("wait", "wait"),
)

# Named as the official converter names them; directions are the finger's there, too.
GUI_ODYSSEY = Table(
    rule("CLICK", "click", x=("x", thousandths), y=("y", thousandths)),
    rule("LONG_PRESS", "long_press", x=("x", thousandths), y=("y", thousandths)),
    rule("SCROLL", "scroll", direction="direction", x=("x", thousandths), y=("y", thousandths)),
    rule("TYPE", "type", text="text"),
    rule("PRESS_HOME", "navigate_home"),
    rule("PRESS_BACK", "navigate_back"),
    rule("PRESS_RECENT", "navigate_recent"),
    rule("COMPLETE", "terminate", {"status": "success"}),
    rule("IMPOSSIBLE", "terminate", {"status": "failure"}),
)

MIND2WEB = Table(
    rule("CLICK", "click", x=("x", x_pixels), y=("y", y_pixels)),
    rule("TYPE", "type", value="text", x=("x", x_pixels), y=("y", y_pixels)),
    rule("SELECT", "select", value="text", x=("x", x_pixels), y=("y", y_pixels)),
)

# Parameters in the order of BrowserGym's functions. Actions on elements name a node of the accessibility tree, which
# has no place on a screen here: they stay calls (``browser_call``).
BROWSERGYM = Table(
    rule("noop", "wait"),
    rule("keyboard_press", "key", key="key"),
    rule("keyboard_type", "type", text="text"),
    rule("send_msg_to_user", "answer", text="text"),
    rule("report_infeasible", "terminate", {"status": "failure"}),
)
BROWSER_CALLS: dict[str, tuple[str, ...]] = {
    "click": ("bid", "button", "modifiers"), "dblclick": ("bid", "button", "modifiers"), "hover": ("bid",),
    "focus": ("bid",), "clear": ("bid",), "fill": ("bid", "value"), "press": ("bid", "key_comb"),
    "select_option": ("bid", "options"), "drag_and_drop": ("from_bid", "to_bid"), "scroll": ("delta_x", "delta_y"),
    "upload_file": ("bid", "file"), "goto": ("url",), "go_back": (), "go_forward": (), "new_tab": (),
    "tab_close": (), "tab_focus": ("index",),
}  # fmt: skip

PYAUTOGUI = Table(
    rule("click", "click", x="x", y="y"),
    rule("doubleClick", "double_click", x="x", y="y"),
    rule("tripleClick", "triple_click", x="x", y="y"),
    rule("rightClick", "right_click", x="x", y="y"),
    rule("middleClick", "middle_click", x="x", y="y"),
    rule("moveTo", "move", x="x", y="y"),
    rule("write", "type", message="text"),
)
