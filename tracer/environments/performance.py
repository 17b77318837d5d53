"""One episode as a demonstrator plays it: it sees what a planner sees and acts by actions alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from tracer.action import Action
from tracer.environments.miniwob import MiniWob
from tracer.instruction import taken
from tracer.trajectory import Element, State, Step, centre

MAX_STEPS = 40
ROW = 0.09
"""Two elements whose centres are at most this far apart in height (a fraction of the screen) are in one row."""


class DemonstrationFailed(RuntimeError):
    """The demonstrator does not know how to go on; the message says what it looked for."""


class Performance:
    """One episode as a demonstrator plays it: the present screen, the ways to act, and the steps so far."""

    def __init__(self, environment: MiniWob, seed: int) -> None:
        self._environment = environment
        self.page = environment.page
        self.state: State = environment.reset(seed)
        self.done = False
        self.success = False
        self.steps: list[Step] = []

    @property
    def goal(self) -> str:
        """The page's goal."""
        return self.state.goal

    @property
    def elements(self) -> tuple[Element, ...]:
        """The elements on the present screen."""
        return self.state.elements or ()

    def act(self, action: Action, target: Element | None = None) -> None:
        """Take the step; raises ``DemonstrationFailed`` when the episode is over or too long."""
        if self.done or len(self.steps) >= MAX_STEPS:
            self.fail("the episode is over" if self.done else f"no end after {MAX_STEPS} steps")
        self.steps.append(taken(self.state, action, target))
        self.state, self.done, self.success = self._environment.step(action, self.steps[-1].instruction)

    def find(self, text: str | None = None, *roles: str, after: Element | None = None, nth: int = 0) -> Element | None:
        """The ``nth`` visible element with this text (any if None) and one of the roles; with ``after``, in its row."""
        first = 0 if after is None else self.elements.index(after)
        found = [
            element
            for element in self.elements[first:]
            if (text is None or element.text == text)
            and (not roles or element.role in roles)
            and (after is None or abs(centre(element.box)[1] - centre(after.box)[1]) <= ROW)
        ]
        return found[nth] if nth < len(found) else None

    def seek(self, look: Callable[[], Element | None], what: str) -> Element:
        """What ``look`` finds, scrolling forward to the end and then back; raises ``DemonstrationFailed``."""
        found = look()
        for finger in ("up", "down"):
            moving = True
            while found is None and moving:
                before = self.elements
                self.scroll(finger)
                moving = self.elements != before
                found = look()
        return found or self.fail(f"nothing on the screen is {what}")

    def click(self, element: Element) -> None:
        """Click the middle of an element."""
        self._point("click", element)

    def hover(self, element: Element) -> None:
        """Rest the pointer on the middle of an element."""
        self._point("move", element)

    def _point(self, kind: str, element: Element) -> None:
        x, y = centre(element.box)
        self.act(Action.of(kind, x=round(x, 4), y=round(y, 4)), element)

    def wait(self) -> None:
        """Wait a second, for what comes up with a delay."""
        self.act(Action.of("wait"))

    def click_on(self, text: str | None, *roles: str, nth: int = 0) -> None:
        """Click the element with this text and role, scrolling to it where needed."""
        self.click(self.seek(lambda: self.find(text, *roles, nth=nth), f"{'/'.join(roles)} {text!r} number {nth + 1}"))

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        self.act(Action.of("type", text=text))

    def fill(self, text: str, label: str | None = None, *, role: str = "input:text", nth: int = 0) -> None:
        """Click a field and type into it."""
        self.click_on(label, role, nth=nth)
        self.type(text)

    def press(self, key: str) -> None:
        """Press a key."""
        self.act(Action.of("key", key=key))

    def scroll(self, finger: str) -> None:
        """Scroll in the finger's direction."""
        self.act(Action.of("scroll", direction=finger))

    def read(self, pattern: str) -> tuple[str, ...]:
        """The groups of the pattern in the goal; raises ``DemonstrationFailed``."""
        found = re.search(pattern, self.goal)
        return tuple(group or "" for group in found.groups()) if found else self.fail(f"a goal like {pattern!r}")

    def fail(self, reason: str) -> NoReturn:
        """Give up; raises ``DemonstrationFailed``."""
        raise DemonstrationFailed(f"{self.goal!r}: {reason}")
