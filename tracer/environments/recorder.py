"""Listens to what a person does on a page of a browser, and makes steps of it: the screen before, and the action.

recorder.js says when a step begins, with the elements on the screen at that moment, and what it came to. The picture is
the last one that the browser had shown by then: the page is filmed, so nobody has to wait for a screenshot. What is
private is covered before a picture is encoded and before a text is kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tracer import package_data
from tracer.action import Action
from tracer.environments import privacy
from tracer.environments.acting import SETTLE, element_of
from tracer.environments.page import MAX_TEXT
from tracer.instruction import taken
from tracer.settings import ConfigError
from tracer.trajectory import Element, State, Step, element_at

STOP = "F9"
"""The key that ends a demonstration."""
FRAMES = 120
FRAME_MS = 200
"""How long a picture may take from the screen to the recorder."""
STALE_MS = 1000
"""A picture shows the page as it was at most this long before it was taken."""


@dataclass(slots=True, kw_only=True)
class Moment:
    """The page as a step begins."""

    elements: tuple[Element, ...]
    picture: asyncio.Task[bytes]


@dataclass(slots=True, kw_only=True)
class Taken:
    """A step that was taken; its picture may still be on the way."""

    id: str
    moment: Moment
    action: Action

    async def step(self, size: tuple[int, int]) -> Step:
        """The step, once its picture is there."""
        elements, picture = self.moment.elements, await self.moment.picture
        state = State(goal="", image=picture, width=size[0], height=size[1], elements=elements)
        index = element_at(self.action.point, elements) if self.action.point else None
        return taken(state, self.action, None if index is None else elements[index])


class Recorder:
    """Listens to one page, from ``start`` on; ``stopped`` is set by the stop key, and when the window is closed."""

    def __init__(self, tab: Any, size: tuple[int, int], kept: Callable[[Sequence[Step]], None], private: str) -> None:
        """``kept`` gets all steps so far, after each one; ``private`` is a CSS selector of fields that are private."""
        self.tab, self.size, self._kept = tab, size, kept
        self._own, self._private = private, ", ".join(filter(None, (privacy.PRIVATE, private)))
        self.secrets = privacy.Secrets()
        self.stopped = asyncio.Event()
        self.notes: dict[str, None] = {}
        """What was done and could not be recorded, each once."""
        self._frames: deque[tuple[float, bytes]] = deque(maxlen=FRAMES)
        self._begun: dict[str, Moment] = {}
        self._left: Mapping[str, Any] | None = None
        self._taken: list[Taken] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Listen; call it before the page is opened. Raises ``ConfigError`` for a selector that is none."""
        settings = json.dumps({"private": self._private, "stop": STOP, "limit": MAX_TEXT})
        script = package_data.read("environments/recorder.js"), package_data.read("environments/elements.js")
        await self._check_private()
        await self.tab.context.add_init_script(f"{script[0]}\n({script[1]}\n, {settings});")
        self._cdp = await self.tab.context.new_cdp_session(self.tab)
        self._cdp.on("Runtime.bindingCalled", lambda event: self._hear(json.loads(event["payload"])))
        self._cdp.on("Page.screencastFrame", lambda event: self._go(self._frame(event)))
        await self._cdp.send("Runtime.enable")
        await self._cdp.send("Runtime.addBinding", {"name": "tracerSay"})
        await self._cdp.send("Page.startScreencast", {"format": "png", "everyNthFrame": 1})
        self.tab.on("close", lambda _: self.stopped.set())
        self.tab.context.on("page", lambda opened: self._go(self._here(opened)))

    async def _check_private(self) -> None:
        from playwright.async_api import Error

        try:
            await self.tab.evaluate("(css) => document.querySelector(css)", self._private)
        except Error as error:
            raise ConfigError(f"--private: {self._own!r} is no CSS selector; write .own, #card, say") from error

    async def finish(self) -> int:
        """Keep what is still going on, such as a text that is being typed, and close the window; the number of steps.

        Raises what went wrong in keeping a step.
        """
        with suppress(Exception):  # the window may be gone, and has said so itself
            async with asyncio.timeout(2):
                await self.tab.evaluate("__tracerRecorder.finish()")
        while self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(Exception):
            await self.tab.context.close()
        if self._failure is not None:
            raise self._failure
        return len(self._taken)

    async def look(self) -> tuple[Element, ...]:
        """The elements on the screen, as they may be told."""
        return self._told(await self.tab.evaluate("__tracerRecorder.look()"))[0]

    async def settled(self) -> None:
        """Wait until the page is drawn and filmed."""
        from playwright.async_api import Error

        for _ in range(5):
            with suppress(Error):  # the page is being left
                await self.tab.wait_for_load_state()
                await self.tab.evaluate(SETTLE)
                await self.tab.wait_for_timeout(FRAME_MS)
                await self.tab.evaluate(SETTLE)
                return

    def _go(self, call: Any) -> None:
        task = asyncio.ensure_future(call)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:  # a full disk, say: going on would lose steps
            self._failure = self._failure or task.exception()
            self.stopped.set()

    async def _here(self, opened: Any) -> None:
        """A page that opens in another window is shown in this one: an agent has one screen."""
        with suppress(Exception):
            await opened.wait_for_load_state("domcontentloaded")
            address = opened.url
            await opened.close()
            await self.tab.goto(address)

    async def _frame(self, event: Mapping[str, Any]) -> None:
        self._frames.append((event["metadata"]["timestamp"] * 1000, base64.b64decode(event["data"])))
        with suppress(Exception):  # the window may be gone
            await self._cdp.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    def _hear(self, message: Mapping[str, Any]) -> None:
        kind = message["kind"]
        if kind == "begin":
            self._begun[message["id"]] = self._moment(message)
        elif kind == "end":
            self._end(message["id"], message["action"], message["hidden"])
        elif kind == "leave":
            self.secrets.add(message["secrets"])
            self._left = message
        elif kind == "arrive":
            self._arrive(message)
        elif kind == "note":
            self.notes[message["text"]] = None
        else:
            self.stopped.set()

    def _end(self, id: str, raw: Mapping[str, Any], hidden: bool) -> None:
        again = bool(self._taken) and self._taken[-1].id == id  # a click that became a double click
        moment = self._taken[-1].moment if again else self._begun.pop(id, None)
        if moment is None:
            return
        if raw == {"type": "type", "text": ""} and not hidden:  # all of it was erased again
            self._taken = [taken for taken in self._taken if taken.id != id]
            return
        fields: dict[str, Any] = {
            name: round(value, 4) if isinstance(value, float) else value for name, value in raw.items()
        }
        if "text" in fields:
            fields["text"] = privacy.MASK if hidden else self.secrets.masked(str(fields["text"]))
        taken = Taken(id=id, moment=moment, action=Action.from_json(fields))
        self._taken[len(self._taken) - again :] = [taken]
        self._go(self._keep())

    def _arrive(self, message: Mapping[str, Any]) -> None:
        left, self._left = self._left, None
        if left is None or left["caused"]:
            return
        if message["how"] == "reload":
            self.notes["loading a page again is not recorded"] = None
        elif message["how"] == "back_forward" and message["index"] > left["index"] >= 0:
            self.notes["going forward is not recorded: follow the link again"] = None
        elif message["how"] == "back_forward":
            self._begun[left["id"]] = self._moment(left)
            self._end(left["id"], {"type": "navigate_back"}, False)

    def _moment(self, message: Mapping[str, Any]) -> Moment:
        elements, boxes = self._told(message)
        return Moment(elements=elements, picture=asyncio.ensure_future(self._picture(message, boxes)))

    def _told(self, message: Mapping[str, Any]) -> tuple[tuple[Element, ...], list[privacy.Pixels]]:
        self.secrets.add(message["secrets"])
        told, boxes = self.secrets.covered(message["elements"], message["hidden"][-1]["boxes"], MAX_TEXT)
        return tuple(element_of(each, self.size) for each in told), boxes

    async def _picture(self, message: Mapping[str, Any], boxes: list[privacy.Pixels]) -> bytes:
        """The last picture before the step began, its private boxes covered wherever they were since."""
        await asyncio.sleep(FRAME_MS / 1000)
        own = sorted(frame for frame in self._frames if frame[0] >= message["born"])
        before = [frame for frame in own if frame[0] <= message["time"]]
        taken, png = before[-1] if before else own[0] if own else (message["time"], await self._shot())
        history = message["hidden"]
        recent = [each for each in history if each["time"] >= taken - STALE_MS]
        older = [each for each in history if each["time"] < taken - STALE_MS][-1:]
        boxes = [*boxes, *(box for each in (*older, *recent) for box in each["boxes"])]
        return await asyncio.to_thread(privacy.picture, png, boxes)

    async def _shot(self) -> bytes:
        shot = await self._cdp.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return base64.b64decode(shot["data"])

    async def _keep(self) -> None:
        async with self._writing:
            self._kept([await taken.step(self.size) for taken in self._taken])
