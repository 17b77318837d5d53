"""A page in the browser as an agent has it: what is on it, what was done so far, and how to act."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from functools import partial
from typing import ClassVar

from tracer import package_data
from tracer.action import Action
from tracer.environments.acting import SETTLE, element_of, perform
from tracer.environments.browser import Browser, Size
from tracer.instruction import describe
from tracer.trajectory import State, element_at

MAX_TEXT = 40
"""Characters of an element's text."""
MAX_ELEMENTS = 60

Turn = tuple[State, bool, bool]
"""The new state, whether the episode is over, and whether it succeeded."""


class Page(ExitStack):
    """A tab with the state that an agent sees. A context manager."""

    settle: ClassVar[str] = SETTLE
    """Waits until what was done is drawn."""

    def __init__(self, browser: Browser, size: Size) -> None:
        """``size``: of the viewport, in CSS pixels."""
        super().__init__()
        self.size = size
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
        await perform(self._tab, action, self.size, partial(self._tab.evaluate, self.settle))

    async def look(self, goal: str, history: tuple[str, ...]) -> State:
        """The state that the page shows."""
        listed = await self._tab.evaluate(self._list_elements, MAX_TEXT)
        shot = await self._cdp.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return State(
            goal=goal,
            image=base64.b64decode(shot["data"]),
            width=self.size[0],
            height=self.size[1],
            elements=tuple(element_of(raw, self.size) for raw in listed[:MAX_ELEMENTS]),
            history=history,
        )
