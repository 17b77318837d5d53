"""MiniWoB++ pages (package ``miniwob``, Farama Foundation) in a real Chromium.

Differs from the package's own Gymnasium environment: no time limit and no reward that decays with time (the raw
outcome counts), a fresh page load for every episode, and an element list that holds what a pointer can reach.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

from tracer import package_data
from tracer.action import Action
from tracer.environments.acting import UnsupportedAction
from tracer.environments.browser import SIZE, Browser
from tracer.environments.page import Page, Turn
from tracer.trajectory import State

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


def pages_folder() -> Path:
    """The folder of the package's HTML pages; raises ``ModuleNotFoundError`` where ``miniwob`` is not installed."""
    spec = importlib.util.find_spec("miniwob")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package miniwob is not installed; `pip install miniwob`")
    return Path(spec.origin).parent / "html" / "miniwob"


class MiniWob(Page):
    """One MiniWoB++ page: ``reset`` starts an episode, ``step`` acts in it. A context manager."""

    settle = _SETTLE

    def __init__(self, browser: Browser, page: str) -> None:
        """``page``: a name such as ``login-user``.

        Raises ``FileNotFoundError`` for a page the package does not have.
        """
        self.path = pages_folder() / f"{page}.html"
        if not self.path.is_file():
            raise FileNotFoundError(f"MiniWoB++ has no page {page!r} (looked for {self.path})")
        super().__init__(browser, SIZE)
        self.page = page
        self._start = package_data.read("environments/start.js")

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
        self.state = await self.look(goal, ())
        return self.state

    async def step_async(self, action: Action, instruction: str | None = None) -> Turn:
        """Act, and return the new state, whether the episode is over, and whether it succeeded (raw reward 1).

        Once the episode is over the state shows the last screen before its end.
        ``instruction`` goes into the history; by default it is ``describe`` of the action. Raises
        ``UnsupportedAction``.
        """
        instruction = self.said(action, instruction)
        if action.type not in ACTIONS:
            raise UnsupportedAction(f"a MiniWoB++ page has no action {action.type!r}")
        await self.perform(action)
        done, reward = await self._tab.evaluate(_SETTLE)
        history = (*self.state.history, instruction)
        # The page covers itself when the episode is over: the last screen that showed the task stays.
        self.state = replace(self.state, history=history) if done else await self.look(self.state.goal, history)
        return self.state, bool(done), bool(done) and reward == 1
