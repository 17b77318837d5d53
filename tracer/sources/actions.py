"""Action spaces as tables: a rule a published action, read in both directions.

A rule says which action of ours a published one is, and how each argument is written there. ``canonical`` reads a
published action, ``published`` writes it again; what no rule names is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tracer.action import Action, ActionError
from tracer.sources.source import Refused

Screen = tuple[int, int]
"""Width and height in pixels."""
OPPOSITE = {"up": "down", "down": "up", "left": "right", "right": "left"}


class Writing(NamedTuple):
    """How a data set writes an argument: from its value to ours, and back."""

    read: Callable[[Any, Screen], Any]
    write: Callable[[Any, Screen], Any]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ActionError(f"a number is needed, not {str(value)[:40]!r}")
    return value


def _opposite(value: Any, _: Screen) -> Any:
    return OPPOSITE.get(value, value) if isinstance(value, str) else value


SAME = Writing(lambda value, _: value, lambda value, _: value)
X_PIXELS = Writing(lambda value, screen: _number(value) / screen[0], lambda value, screen: round(value * screen[0]))
Y_PIXELS = Writing(lambda value, screen: _number(value) / screen[1], lambda value, screen: round(value * screen[1]))
THOUSANDTHS = Writing(lambda value, _: _number(value) / 1000, lambda value, _: round(value * 1000))
SCREEN_DIRECTION = Writing(_opposite, _opposite)
"""The direction in which the view moves over its content, which is against the finger's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One published action and what it is here."""

    name: str
    """The published action type."""
    type: str
    """Ours, of ``GRAMMAR``."""
    arguments: Mapping[str, tuple[str, Writing]]
    """Published argument -> our argument and how it is written."""
    fixed: Mapping[str, Any]
    """Our arguments that the published name implies."""


def rule(name: str, type: str, fixed: Mapping[str, Any] | None = None, **arguments: Any) -> Rule:
    """A rule; an argument is ``published=ours`` or ``published=(ours, writing)``."""
    pairs = {key: value if isinstance(value, tuple) else (value, SAME) for key, value in arguments.items()}
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
            values = {ours: writing.read(arguments[key], screen) for key, (ours, writing) in found.arguments.items()}
            return Action.of(found.type, **values, **found.fixed)
        except ActionError as error:
            raise broken(f"{name!r}", error) from error

    def published(self, action: Action, screen: Screen = (1, 1)) -> tuple[str, dict[str, Any]]:
        """The published name and arguments of our action; raises ``KeyError`` where the data set has none."""
        given = dict(action.arguments)
        for found in self.rules:
            wanted = {ours for ours, _ in found.arguments.values()} | set(found.fixed)
            fits = found.type == action.type and wanted == set(given)
            if fits and all(given[key] == value for key, value in found.fixed.items()):
                pairs = found.arguments.items()
                return found.name, {key: writing.write(given[ours], screen) for key, (ours, writing) in pairs}
        raise KeyError(f"no published action for {action.to_json()}")


def broken(where: str, error: ActionError) -> Refused:
    """The refusal of an action whose arguments are wrong."""
    reason = "coordinate off the screen" if "off the screen" in str(error) else "broken action"
    return Refused(reason, f"{where}: {error}", "correct the action, or drop the trajectory")


ANDROID_CONTROL = Table(
    rule("click", "click", x=("x", X_PIXELS), y=("y", Y_PIXELS)),
    rule("long_press", "long_press", x=("x", X_PIXELS), y=("y", Y_PIXELS)),
    rule("scroll", "scroll", direction=("direction", SCREEN_DIRECTION)),
    rule("open_app", "open_app", app_name="app"),
    rule("input_text", "type", text="text"),
    # Of an earlier release: it clicks, types and presses Enter. The adapter adds the Enter.
    rule("type", "type", text="text", x=("x", X_PIXELS), y=("y", Y_PIXELS)),
    rule("navigate_home", "navigate_home"),
    rule("navigate_back", "navigate_back"),
    rule("wait", "wait"),
)

# Named as the official converter names them; directions are the finger's there, too.
GUI_ODYSSEY = Table(
    rule("CLICK", "click", x=("x", THOUSANDTHS), y=("y", THOUSANDTHS)),
    rule("LONG_PRESS", "long_press", x=("x", THOUSANDTHS), y=("y", THOUSANDTHS)),
    rule("SCROLL", "scroll", direction="direction", x=("x", THOUSANDTHS), y=("y", THOUSANDTHS)),
    rule("TYPE", "type", text="text"),
    rule("PRESS_HOME", "navigate_home"),
    rule("PRESS_BACK", "navigate_back"),
    rule("PRESS_RECENT", "navigate_recent"),
    rule("COMPLETE", "terminate", {"status": "success"}),
    rule("IMPOSSIBLE", "terminate", {"status": "failure"}),
)

MIND2WEB = Table(
    rule("CLICK", "click", x=("x", X_PIXELS), y=("y", Y_PIXELS)),
    rule("TYPE", "type", value="text", x=("x", X_PIXELS), y=("y", Y_PIXELS)),
    rule("SELECT", "select", value="text", x=("x", X_PIXELS), y=("y", Y_PIXELS)),
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
    "click": ("bid", "button", "modifiers"),
    "dblclick": ("bid", "button", "modifiers"),
    "hover": ("bid",),
    "focus": ("bid",),
    "clear": ("bid",),
    "fill": ("bid", "value"),
    "press": ("bid", "key_comb"),
    "select_option": ("bid", "options"),
    "drag_and_drop": ("from_bid", "to_bid"),
    "scroll": ("delta_x", "delta_y"),
    "upload_file": ("bid", "file"),
    "goto": ("url",),
    "go_back": (),
    "go_forward": (),
    "new_tab": (),
    "tab_close": (),
    "tab_focus": ("index",),
}

PYAUTOGUI = Table(
    rule("click", "click", x="x", y="y"),
    rule("doubleClick", "double_click", x="x", y="y"),
    rule("tripleClick", "triple_click", x="x", y="y"),
    rule("rightClick", "right_click", x="x", y="y"),
    rule("middleClick", "middle_click", x="x", y="y"),
    rule("moveTo", "move", x="x", y="y"),
    rule("write", "type", message="text"),
)
