"""A page in the browser: what is on it, and how it is acted on by coordinates, text and keys."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from typing import Any, ClassVar

from tracer import package_data
from tracer.action import Action
from tracer.environments.browser import Browser, Size
from tracer.instruction import describe
from tracer.trajectory import Element, State, element_at

MAX_TEXT = 40
"""Characters of an element's text."""
MAX_ELEMENTS = 60

SCROLL = 0.5
"""How far a scroll without an amount goes, as a fraction of the screen's height (or width)."""

_BUTTONS = {"click": ("left", 1), "double_click": ("left", 2), "triple_click": ("left", 3), "right_click": ("right", 1)}

Turn = tuple[State, bool, bool]
"""The new state, whether the episode is over, and whether it succeeded."""


class UnsupportedAction(ValueError):
    """An action that has no meaning on a web page, for example opening an app."""


class Page(ExitStack):
    """A tab with the state that an agent sees. A context manager."""

    settle: ClassVar[str] = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    """Waits until what was done is drawn."""
    what: ClassVar[str] = "a web page"

    def __init__(self, browser: Browser, size: Size) -> None:
        """``size``: of the viewport, in CSS pixels."""
        super().__init__()
        self.width, self.height = size
        self._list_elements = package_data.read("environments/elements.js")
        self._run = browser.run
        self._tab = self._run(browser.new_page(size))
        self.callback(lambda: self._run(self._tab.context.close()))
        self._cdp = self._run(self._tab.context.new_cdp_session(self._tab))
        self.state = State(goal="")

    def said(self, action: Action, instruction: str | None) -> str:
        """The instruction for the history: by default ``describe`` of the action."""
        if instruction is not None:
            return instruction
        elements = self.state.elements or ()
        index = element_at(action.point, elements) if action.point else None
        return describe(action, None if index is None else elements[index], elements)

    async def perform(self, action: Action) -> None:
        """Act; raises ``UnsupportedAction``."""
        mouse, keyboard = self._tab.mouse, self._tab.keyboard
        x, y = action.point or (0.5, 0.62)
        x, y = x * self.width, y * self.height
        if action.type in _BUTTONS:
            button, count = _BUTTONS[action.type]
            await mouse.move(x, y)
            # Icons that change when hovered over have no area until their other picture is loaded.
            await self._tab.evaluate(self.settle)
            await mouse.click(x, y, button=button, click_count=count)
        elif action.type == "move":
            await mouse.move(x, y)
        elif action.type == "drag":
            await mouse.move(x, y)
            await mouse.down()
            await mouse.move(action.get("to_x") * self.width, action.get("to_y") * self.height, steps=4)
            await mouse.up()
        elif action.type == "type":
            if action.point:
                await mouse.click(x, y)
            await keyboard.type(action.get("text"))
        elif action.type == "key":
            await self._press(action.get("key"))
        elif action.type == "scroll":
            await mouse.move(x, y)
            await mouse.wheel(*self._wheel(action))
            # The compositor applies a wheel event after the call has returned.
            await self._tab.wait_for_timeout(60)
        elif action.type == "wait":
            await self._tab.wait_for_timeout(1000 * action.get("seconds", 1.0))
        else:
            raise UnsupportedAction(f"{self.what} has no action {action.type!r}")

    async def _press(self, key: str) -> None:
        from playwright.async_api import Error

        try:
            await self._tab.keyboard.press(key)
        except Error as error:
            if "Unknown key" in str(error):  # the agent's mistake, and no failure of the browser
                raise UnsupportedAction(f"there is no key {key[:80]!r}") from error
            raise

    async def look(self, goal: str, history: tuple[str, ...]) -> State:
        """The state that the page shows."""
        listed = await self._tab.evaluate(self._list_elements, MAX_TEXT)
        shot = await self._cdp.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return State(
            goal=goal,
            image=base64.b64decode(shot["data"]),
            width=self.width,
            height=self.height,
            elements=tuple(self._element(raw) for raw in listed[:MAX_ELEMENTS]),
            history=history,
        )

    def _wheel(self, action: Action) -> tuple[float, float]:
        # The finger's direction: a finger that moves up brings what lies below, which the wheel calls positive.
        amount = action.get("amount", SCROLL)
        dx, dy = {"up": (0, 1), "down": (0, -1), "left": (1, 0), "right": (-1, 0)}[action.get("direction")]
        return dx * amount * self.width, dy * amount * self.height

    def _element(self, raw: dict[str, Any]) -> Element:
        left, top, right, bottom = raw["box"]
        box = (
            _fraction(left, self.width),
            _fraction(top, self.height),
            _fraction(right, self.width),
            _fraction(bottom, self.height),
        )
        return Element(role=raw["role"], text=raw["text"], value=raw["value"], state=raw["state"], box=box)


def _fraction(pixels: float, size: int) -> float:
    return round(min(max(pixels / size, 0.0), 1.0), 4)
