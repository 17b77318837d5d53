"""MiniWoB++ as a world: one Chromium, in which every environment is a page."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from tracer.environments.acting import UnsupportedAction
from tracer.environments.browser import Browser, chromium, identity
from tracer.environments.environment import Calls, Method, World
from tracer.environments.miniwob import MiniWob
from tracer.environments.pages import HELDOUT, LONGEST, RL

PAGE_TIMEOUT_MS = 90_000


class MiniWobWorld(World):
    """The pages that stages 1 and 2 train on, and those that nothing was ever trained on."""

    tasks: ClassVar[Mapping[str, Sequence[str]]] = {"test": RL, "heldout": HELDOUT}
    impossible = (UnsupportedAction,)

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """Playwright's errors: the browser or a page failed, not the agent."""
        from playwright.async_api import Error

        return (Error,)

    def max_steps(self, task: str) -> int:
        """Half as many again as the longest demonstration on the page takes, and at least 12."""
        return max(12, math.ceil(1.5 * LONGEST[task])) if task in LONGEST else super().max_steps(task)

    def version(self) -> tuple[str, str]:
        """The browser's version and a digest of its fonts, or why pages cannot be played."""
        _, missing = chromium()
        return "" if missing else "; fonts ".join(identity().values()), missing

    def open(self, task: str) -> MiniWob:
        """A page of this name."""
        return MiniWob(self._browser, task)

    def __enter__(self) -> Self:
        self._browser = self.enter_context(Browser(PAGE_TIMEOUT_MS))
        return self

    def together(self, method: Method, calls: Calls) -> list[Any]:
        """The calls of all pages at once: most of a step is waiting for frames."""

        async def every() -> list[Any]:
            pages = [getattr(page, f"{method}_async")(*arguments) for page, arguments in calls]
            return await asyncio.gather(*pages, return_exceptions=True)

        return self._browser.run(every())
