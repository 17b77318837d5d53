"""MiniWoB++ pages (package ``miniwob``, Farama Foundation) in a real Chromium, acted on by coordinates, text and keys.

Differs from the package's own Gymnasium environment: no time limit and no reward that decays with time (the raw
outcome counts), a fresh page load for every episode, and an element list that holds what a pointer can reach.
"""

from __future__ import annotations

import base64
import importlib.util
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer import package_data
from tracer.action import Action
from tracer.environments.browser import HEIGHT, WIDTH, Browser
from tracer.instruction import describe
from tracer.trajectory import Element, State, element_at

MAX_TEXT = 40
"""Characters of an element's text."""
MAX_ELEMENTS = 60

SCROLL = 0.5
"""How far a scroll without an amount goes, as a fraction of the screen's height (or width)."""

# Transitions, carets and the package's click visualiser would make equal states look different.
_STILL = (
    "*{caret-color:transparent!important;transition:none!important;animation:none!important}"
    "#click-canvas{display:none!important}"
)

# setTimeout takes at most 2**31 - 1 milliseconds and fires at once beyond.
_TIME_LIMIT_MS = 2**31 - 1

_SETTLE = """
() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(
  () => resolve([WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]))))
"""
_BUTTONS = {"click": ("left", 1), "double_click": ("left", 2), "triple_click": ("left", 3), "right_click": ("right", 1)}


Turn = tuple[State, bool, bool]
"""The new state, whether the episode is over, and whether it succeeded."""


class UnsupportedAction(ValueError):
    """An action that has no meaning on a web page, for example opening an app."""


def pages_folder() -> Path:
    """The folder of the package's HTML pages; raises ``ModuleNotFoundError`` where ``miniwob`` is not installed."""
    spec = importlib.util.find_spec("miniwob")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package miniwob is not installed; `pip install miniwob`")
    return Path(spec.origin).parent / "html" / "miniwob"


class MiniWob(ExitStack):
    """One MiniWoB++ page: ``reset`` starts an episode, ``step`` acts in it. A context manager."""

    def __init__(self, browser: Browser, page: str) -> None:
        """``page``: a name such as ``login-user``.

        Raises ``FileNotFoundError`` for a page the package does not have.
        """
        super().__init__()
        self.path = pages_folder() / f"{page}.html"
        if not self.path.is_file():
            raise FileNotFoundError(f"MiniWoB++ has no page {page!r} (looked for {self.path})")
        self.page = page
        self._start = package_data.read("environments/start.js")
        self._list_elements = package_data.read("environments/elements.js")
        self._run = browser.run
        self._tab = self._run(browser.new_page())
        self.callback(lambda: self._run(self._tab.context.close()))
        self._cdp = self._run(self._tab.context.new_cdp_session(self._tab))
        self.state = State(goal="")

    def reset(self, seed: int) -> State:
        """Start the episode of this seed: the same seed, the same goal and elements; pixels can differ slightly."""
        return self._run(self.reset_async(seed))

    def step(self, action: Action, instruction: str | None = None) -> Turn:
        """``step_async``, waited for."""
        return self._run(self.step_async(action, instruction))

    async def reset_async(self, seed: int) -> State:
        """``reset``, beside other pages."""
        await self._tab.mouse.move(1, 1)
        await self._tab.goto(self.path.as_uri())
        # seedrandom repeats its key to fill a buffer: without a mark at the end "2" and "22" would be one seed.
        goal = await self._tab.evaluate(self._start, [f"{seed}:", _TIME_LIMIT_MS, _STILL])
        await self._tab.evaluate(_SETTLE)
        self.state = await self._look(goal, ())
        return self.state

    async def step_async(self, action: Action, instruction: str | None = None) -> Turn:
        """Act, and return the new state, whether the episode is over, and whether it succeeded (raw reward 1).

        Once the episode is over the state shows the last screen before its end.
        ``instruction`` goes into the history; by default it is ``describe`` of the action. Raises
        ``UnsupportedAction``.
        """
        if instruction is None:
            elements = self.state.elements or ()
            index = element_at(action.point, elements) if action.point else None
            instruction = describe(action, None if index is None else elements[index], elements)
        await self._perform(action)
        done, reward = await self._tab.evaluate(_SETTLE)
        history = (*self.state.history, instruction)
        # The page covers itself when the episode is over: the last screen that showed the task stays.
        self.state = replace(self.state, history=history) if done else await self._look(self.state.goal, history)
        return self.state, bool(done), bool(done) and reward == 1

    async def _perform(self, action: Action) -> None:
        mouse, keyboard = self._tab.mouse, self._tab.keyboard
        x, y = ((action.point[0] * WIDTH), (action.point[1] * HEIGHT)) if action.point else (WIDTH / 2, HEIGHT * 0.62)
        if action.type in _BUTTONS:
            button, count = _BUTTONS[action.type]
            await mouse.move(x, y)
            # Icons that change when hovered over have no area until their other picture is loaded.
            await self._tab.evaluate(_SETTLE)
            await mouse.click(x, y, button=button, click_count=count)
        elif action.type == "move":
            await mouse.move(x, y)
        elif action.type == "drag":
            await mouse.move(x, y)
            await mouse.down()
            await mouse.move(action.get("to_x") * WIDTH, action.get("to_y") * HEIGHT, steps=4)
            await mouse.up()
        elif action.type == "type":
            if action.point:
                await mouse.click(x, y)
            await keyboard.type(action.get("text"))
        elif action.type == "key":
            await self._press(action.get("key"))
        elif action.type == "scroll":
            await mouse.move(x, y)
            await mouse.wheel(*_wheel(action))
            # The compositor applies a wheel event after the call has returned.
            await self._tab.wait_for_timeout(60)
        elif action.type == "wait":
            await self._tab.wait_for_timeout(1000 * action.get("seconds", 1.0))
        else:
            raise UnsupportedAction(f"a MiniWoB++ page has no action {action.type!r}")

    async def _press(self, key: str) -> None:
        from playwright.async_api import Error

        try:
            await self._tab.keyboard.press(key)
        except Error as error:
            if "Unknown key" in str(error):  # the agent's mistake, and no failure of the browser
                raise UnsupportedAction(f"there is no key {key[:80]!r}") from error
            raise

    async def _look(self, goal: str, history: tuple[str, ...]) -> State:
        listed = await self._tab.evaluate(self._list_elements, MAX_TEXT)
        shot = await self._cdp.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return State(
            goal=goal,
            image=base64.b64decode(shot["data"]),
            width=WIDTH,
            height=HEIGHT,
            elements=tuple(_element(raw) for raw in listed[:MAX_ELEMENTS]),
            history=history,
        )


def _wheel(action: Action) -> tuple[float, float]:
    # The finger's direction: a finger that moves up brings what lies below, which the wheel calls positive.
    amount = action.get("amount", SCROLL)
    dx, dy = {"up": (0, 1), "down": (0, -1), "left": (1, 0), "right": (-1, 0)}[action.get("direction")]
    return dx * amount * WIDTH, dy * amount * HEIGHT


def _element(raw: dict[str, Any]) -> Element:
    left, top, right, bottom = raw["box"]
    return Element(
        role=raw["role"],
        text=raw["text"],
        value=raw["value"],
        state=raw["state"],
        box=(_fraction(left, WIDTH), _fraction(top, HEIGHT), _fraction(right, WIDTH), _fraction(bottom, HEIGHT)),
    )


def _fraction(pixels: float, size: int) -> float:
    return round(min(max(pixels / size, 0.0), 1.0), 4)
