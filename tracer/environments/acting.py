"""How a page of a browser is read, and acted on by mouse, wheel and keyboard, as a person would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tracer.action import Action
from tracer.trajectory import Box, Element

SCROLL = 0.5
"""How far a scroll without an amount goes, as a fraction of the screen's height (or width)."""
SETTLE = "() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"
_CHOSEN = "() => (document.activeElement?.selectedOptions?.[0]?.textContent ?? '').trim()"
_BUTTONS = {
    "click": ("left", 1),
    "double_click": ("left", 2),
    "triple_click": ("left", 3),
    "right_click": ("right", 1),
    "middle_click": ("middle", 1),
}


class UnsupportedAction(ValueError):
    """An action that has no meaning on a web page, for example opening an app."""


async def perform(tab: Any, action: Action, size: tuple[int, int], settle: Callable[[], Awaitable[Any]]) -> None:
    """Act on a Playwright page whose viewport has this size; ``settle`` waits until the page is drawn.

    Raises ``UnsupportedAction``.
    """
    mouse, keyboard, (width, height) = tab.mouse, tab.keyboard, size
    x, y = ((action.point[0] * width), (action.point[1] * height)) if action.point else (width / 2, height * 0.62)
    if action.type in _BUTTONS:
        button, count = _BUTTONS[action.type]
        await mouse.move(x, y)
        # Icons that change when hovered over have no area until their other picture is loaded.
        await settle()
        await mouse.click(x, y, button=button, click_count=count)
    elif action.type == "move":
        await mouse.move(x, y)
    elif action.type == "drag":
        await mouse.move(x, y)
        await mouse.down()
        await mouse.move(action.get("to_x") * width, action.get("to_y") * height, steps=4)
        await mouse.up()
    elif action.type == "type":
        if action.point:
            await mouse.click(x, y)
        await keyboard.type(action.get("text"))
    elif action.type == "key":
        await _press(keyboard, action.get("key"))
    elif action.type == "scroll":
        await mouse.move(x, y)
        await mouse.wheel(*_wheel(action, width, height))
        # The compositor applies a wheel event after the call has returned.
        await tab.wait_for_timeout(60)
    elif action.type == "select":
        await _select(tab, action.get("text"))
    elif action.type == "navigate_back":
        await tab.go_back()
    elif action.type == "wait":
        await tab.wait_for_timeout(1000 * action.get("seconds", 1.0))
    else:
        raise UnsupportedAction(f"a web page has no action {action.type!r}")


async def _select(tab: Any, text: str) -> None:
    """Choose in the drop-down list that has the focus, whether it is open or not: it takes what is typed."""
    await tab.keyboard.type(text)
    await tab.keyboard.press("Enter")
    await tab.wait_for_timeout(100)  # an open list tells its field after it has closed
    if await tab.evaluate(_CHOSEN) != text.strip():
        raise UnsupportedAction(f"no list that has the focus has the entry {text[:80]!r}")


async def _press(keyboard: Any, key: str) -> None:
    from playwright.async_api import Error

    try:
        await keyboard.press(key)
    except Error as error:
        if "Unknown key" in str(error):  # the agent's mistake, and no failure of the browser
            raise UnsupportedAction(f"there is no key {key[:80]!r}") from error
        raise


def _wheel(action: Action, width: int, height: int) -> tuple[float, float]:
    # The finger's direction: a finger that moves up brings what lies below, which the wheel calls positive.
    amount = action.get("amount", SCROLL)
    dx, dy = {"up": (0, 1), "down": (0, -1), "left": (1, 0), "right": (-1, 0)}[action.get("direction")]
    return dx * amount * width, dy * amount * height


def element_of(raw: Mapping[str, Any], size: tuple[int, int]) -> Element:
    """An element as elements.js lists it, in fractions of a screen of this size."""
    return Element(
        role=raw["role"], text=raw["text"], value=raw["value"], state=raw["state"], box=fractions(raw["box"], size)
    )


def fractions(pixels: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """A box in fractions of the screen."""
    left, top, right, bottom = (
        round(min(max(side / size[index % 2], 0.0), 1.0), 4) for index, side in enumerate(pixels)
    )
    return left, top, right, bottom
