"""Any web page as a world of one task. What stands on a page is data: it can mislead an agent, and give it no powers.

The browser reaches the allowed hosts and no others. What a page would send there that may change something (any request
but GET, HEAD and OPTIONS) waits for the answer of whoever started this. A page that crashes or hangs ends the episode.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Coroutine
from fnmatch import fnmatch
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

from tracer.action import Action
from tracer.environments.acting import UnsupportedAction
from tracer.environments.address import page_address, visit
from tracer.environments.browser import Browser, Size, chromium
from tracer.environments.environment import World
from tracer.environments.page import Page, Turn
from tracer.settings import ConfigError
from tracer.trajectory import State

Result = TypeVar("Result")
SIZE = 1280, 800
SECONDS = 30.0
"""How long a page may take over one step."""
QUIET = 0.3
"""Seconds in which a page begins to load what an action leads to."""
SAFE = ("GET", "HEAD", "OPTIONS")
OURS = """
// There is one tab: what would open in another opens here.
document.addEventListener('click', (event) => {
  const link = event.target instanceof Element && event.target.closest('a[target], area[target]');
  if (link) link.target = '_self';
}, true);
"""


class PageFailed(RuntimeError):
    """A page that crashed, hangs, or cannot be reached."""


class NotSent(RuntimeError):
    """What a page would have sent was refused, which ends the episode."""


Ask = Callable[[str], bool]
Say = Callable[[str], None]


class WebPage(Page):
    """The page at an address; ``terminate`` and ``answer`` end the episode."""

    def __init__(self, browser: Browser, world: WebWorld) -> None:
        super().__init__(browser, world.size)
        self._url, self._goal, self._allowed = world.url, world.goal, world.allowed
        self._ask, self._say = world.ask, world.say
        self._refused = ""
        self._told: set[str] = set()
        self._crashed = False
        self._run(self._prepare())

    def reset(self, seed: int) -> State:
        """Load the page. Raises ``NoPage`` and ``PageFailed``."""

        async def load() -> State:
            await visit(self._tab, self._url)
            return await self.look(self._goal, ())

        self.state = self._run(self._bounded(load()))
        return self.state

    def step(self, action: Action, instruction: str | None = None) -> Turn:
        """Act. Raises ``UnsupportedAction``, ``NotSent`` and ``PageFailed``."""
        history = (*self.state.history, self.said(action, instruction))
        self._told.clear()
        if action.type in ("terminate", "answer"):
            if action.type == "answer":
                self._say(f"answer: {action.get('text')!a}")
            return self.state, True, action.get("status", "success") == "success"

        async def act() -> State:
            await self.perform(action)
            return await self._settled(history)

        self.state = self._run(self._bounded(act()))
        if self._refused:
            raise NotSent(self._refused)
        return self.state, False, False

    async def _prepare(self) -> None:
        context = self._tab.context
        await context.add_init_script(OURS)
        await context.route("**/*", self._decide)
        await context.route_web_socket(re.compile(""), lambda socket: socket.close())
        context.on("page", lambda page: asyncio.ensure_future(self._close(page)))
        # Redirects pass by unseen, and end in the browser's network stack.
        self._tab.on("requestfailed", self._failed)
        self._tab.on("crash", lambda _: setattr(self, "_crashed", True))

    async def _decide(self, route: Any) -> None:
        """Let a request pass, or not; what is refused leaves the page as it is."""
        request = route.request
        host = urlsplit(request.url).hostname or ""
        if not any(fnmatch(host, each) for each in self._allowed):
            self._blocked(request)
            await route.abort("aborted")
        elif request.method not in SAFE and not self._may(f"send this to {host}? {_shown(request)}"):
            await route.abort("aborted")
        else:
            await route.continue_()

    def _failed(self, request: Any) -> None:
        if "NOT_RESOLVED" in str(request.failure):
            self._blocked(request)

    def _blocked(self, request: Any) -> None:
        host = urlsplit(request.url).hostname or request.url[:80]
        if request.is_navigation_request() and host not in self._told:  # a browser tries more than once
            self._told.add(host)
            self._say(f"blocked: the page wanted to go to {host!a}; --allow lets it")

    def _may(self, question: str) -> bool:
        if not self._refused and not self._ask(question):
            self._refused = f"not sent, as you said: {question.removeprefix('send this to ')}"
        return not self._refused

    async def _settled(self, history: tuple[str, ...]) -> State:
        """The state once the page has loaded what the action led to."""
        from playwright.async_api import Error

        for _ in range(5):
            await asyncio.sleep(QUIET)
            try:
                await self._tab.wait_for_load_state("load")
                await self._tab.evaluate(self.settle)
                return await self.look(self._goal, history)
            except Error as error:
                if "context was destroyed" not in str(error) and "navigat" not in str(error):
                    raise
        raise PageFailed(f"{self._tab.url} goes on loading other pages")

    async def _bounded(self, call: Coroutine[Any, Any, Result]) -> Result:
        from playwright.async_api import Error

        try:
            return await asyncio.wait_for(call, SECONDS)
        except TimeoutError as error:
            raise PageFailed(f"the page at {self._address()} does not answer within {SECONDS:g} seconds") from error
        except Error as error:
            what = "crashed" if self._crashed else f"failed: {str(error).splitlines()[0][:200]}"
            raise PageFailed(f"the page at {self._address()} {what}") from error

    def _address(self) -> str:
        return self._tab.url if self._tab.url.startswith("http") else self._url

    async def _close(self, page: Any) -> None:
        self._say(f"closed: the page opened another window ({page.url[:200]!a})")
        await page.close()


def _shown(request: Any) -> str:
    data = (request.post_data_buffer or b"")[:200].decode("utf-8", "replace")
    return f"{request.method} {request.url[:200]!a} {data!a}"


class WebWorld(World):
    """A world of one page. What it fails is not played again: an action may have had its effect."""

    impossible: ClassVar[tuple[type[Exception], ...]] = (UnsupportedAction, NotSent, PageFailed)
    ends = ("ended: the agent says that it is done", "ended: the agent gives up")

    def __init__(
        self, url: str, goal: str, allowed: Collection[str], ask: Ask, say: Say = print, size: Size = SIZE
    ) -> None:
        """``allowed``: hosts beside the page's own, ``*`` for anything. ``ask`` says whether something may be sent.
        ``size``: of the window, in CSS pixels. Raises ``ConfigError`` for what is no address of a web page."""
        super().__init__()
        wrong = [host for host in allowed if not re.fullmatch(r"[\w.*:-]+", host)]
        if wrong:
            raise ConfigError(f"{wrong[0]!r} is no host; --allow takes a name such as example.org or *.example.org")
        self.url = page_address(url)
        self.allowed = (urlsplit(self.url).hostname or "", *allowed)
        self.goal, self.ask, self.say, self.size = goal, ask, say, size
        self._browser: Browser | None = None

    def version(self) -> tuple[str, str]:
        """The browser's version, or why there is none."""
        return chromium()

    def open(self, task: str) -> WebPage:
        """The page; there is one task."""
        assert self._browser is not None  # it was entered
        return WebPage(self._browser, self)

    def check(self) -> None:
        """Look whether the page is there, and run nothing of it; raises ``NoPage``."""
        assert self._browser is not None  # it was entered

        async def answer(browser: Browser) -> None:
            tab = await browser.new_page(self.size)
            await tab.route("**/*", _document_alone)
            await visit(tab, self.url)
            await tab.context.close()

        self._browser.run(answer(self._browser))

    def __enter__(self) -> Self:
        if self._browser is None:  # else it goes on with the browser that it was checked in
            self._browser = self.enter_context(Browser(1000 * SECONDS, reach=self.allowed))
            self.callback(setattr, self, "_browser", None)
        return self


async def _document_alone(route: Any) -> None:
    if route.request.is_navigation_request() and route.request.method == "GET":
        await route.continue_()
    else:
        await route.abort()
