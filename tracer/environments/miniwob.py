"""MiniWoB++ pages (package ``miniwob``, Farama Foundation) in a real Chromium, acted on by coordinates, text and keys.

Differs from the package's own Gymnasium environment: no time limit and no reward that decays with time (the raw
outcome counts), a fresh page load for every episode, and an element list that holds what a pointer can reach.
"""

from __future__ import annotations

import base64
import importlib.util
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from tracer import package_data
from tracer.action import Action
from tracer.environments.acting import UnsupportedAction, element_of, perform
from tracer.environments.browser import HEIGHT, WIDTH, Browser
from tracer.instruction import describe
from tracer.trajectory import State, element_at

MAX_TEXT = 40
"""Characters of an element's text."""
MAX_ELEMENTS = 60

ACTIONS = ("click", "double_click", "triple_click", "right_click", "move", "drag", "type", "key", "scroll", "wait")
"""What a page can be done to; everything else has no meaning there."""

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
Turn = tuple[State, bool, bool]
"""The new state, whether the episode is over, and whether it succeeded."""


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
        if action.type not in ACTIONS:
            raise UnsupportedAction(f"a MiniWoB++ page has no action {action.type!r}")
        await perform(self._tab, action, (WIDTH, HEIGHT), partial(self._tab.evaluate, _SETTLE))
        done, reward = await self._tab.evaluate(_SETTLE)
        history = (*self.state.history, instruction)
        # The page covers itself when the episode is over: the last screen that showed the task stays.
        self.state = replace(self.state, history=history) if done else await self._look(self.state.goal, history)
        return self.state, bool(done), bool(done) and reward == 1

    async def _look(self, goal: str, history: tuple[str, ...]) -> State:
        listed = await self._tab.evaluate(self._list_elements, MAX_TEXT)
        shot = await self._cdp.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return State(
            goal=goal,
            image=base64.b64decode(shot["data"]),
            width=WIDTH,
            height=HEIGHT,
            elements=tuple(element_of(raw, (WIDTH, HEIGHT)) for raw in listed[:MAX_ELEMENTS]),
            history=history,
        )
