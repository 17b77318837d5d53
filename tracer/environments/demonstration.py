"""Record what a person, or a script, does on a page of one's own, and tell whether a recording is still valid.

An episode is a file of one line, ``<out>/<split>/<task>-<time>.jsonl``, with its pictures in ``images/`` beside it. It
is written after every step, so that a killed recording keeps the steps that were whole.
"""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tracer import json_lines
from tracer.environments.acting import SETTLE, UnsupportedAction, perform
from tracer.environments.address import page_address, visit
from tracer.environments.browser import Browser
from tracer.environments.privacy import MASK
from tracer.environments.recorder import STOP, Recorder
from tracer.instruction import locate
from tracer.settings import ConfigError
from tracer.sources import jsonl
from tracer.sources.recording import RECORDED, step_record
from tracer.trajectory import Element, Step, Trajectory, element_at

SIZE = (1280, 720)
"""The window, in CSS pixels."""
PATIENCE = 5.0
"""Seconds that a page may take to show what the next step aims at."""
Drive = Callable[[Recorder], Awaitable[None]]
"""What demonstrates in place of a person."""


class NoDisplay(ConfigError):
    """There is no display for a window; the message says what to do."""


class NothingRecorded(RuntimeError):
    """The demonstration has no step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was recorded."""

    path: Path
    steps: int
    notes: tuple[str, ...]
    """What was done and could not be recorded: the outcome of such an episode is unknown."""

    def __str__(self) -> str:
        lines = [f"{counted(self.steps, 'step')}: {self.path}", *(f"not recorded: {note}" for note in self.notes)]
        return "\n".join(lines + ["its outcome is unknown: delete it, and demonstrate without that"] * bool(self.notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Whether a recording can still be done on its page."""

    id: str
    steps: int
    problem: str = ""
    """The first step that cannot be done, and why; empty if all could."""
    changed: tuple[int, ...] = ()
    """The steps, from 1, whose screens have other elements than recorded, though the step could be done: it may still
    be valid, if what differs does not matter."""

    def __str__(self) -> str:
        if self.problem:
            return f"{self.id}: no longer valid. {self.problem}"
        steps = counted(self.steps, "step")
        if self.changed:
            return (
                f"{self.id}: {steps} could be done, but other elements than recorded were on the screen before step "
                f"{', '.join(map(str, self.changed))}: look whether that matters"
            )
        return f"{self.id}: valid, {steps}"


def counted(number: int, noun: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number} {noun}{'s' * (number != 1)}"


class Episode:
    """The file of one demonstration."""

    def __init__(self, url: str, goal: str, out: Path, split: str, task: str) -> None:
        address = urlsplit(url)
        url = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()  # without a name and password
        self._made: list[Path] = []
        task = task or address.hostname or Path(address.path).stem
        name = f"{task}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        self.path = out / split / f"{name}.jsonl"
        self._images = self.path.parent / "images"
        fields = {
            "id": f"{RECORDED}/{name}",
            "source": RECORDED,
            "task": task,
            "split": split,
            "goal": goal,
            "url": url,
        }
        self._fields = fields | {"outcome": "unknown"}

    def write(self, steps: Sequence[Step], mask: Callable[[str], str]) -> None:
        """Write the steps so far; ``mask`` takes secrets out of a text."""
        self._images.mkdir(parents=True, exist_ok=True)
        names = []
        for step in steps:
            content = step.image or b""
            names.append(f"{hashlib.sha256(content).hexdigest()[:24]}.webp")
            if not (self._images / names[-1]).is_file():
                part = self._images / f".{names[-1]}.part"
                part.write_bytes(content)
                os.replace(part, self._images / names[-1])
                self._made.append(self._images / names[-1])
        fields = self._fields | {name: mask(self._fields[name]) for name in ("goal", "url")}
        records = [step_record(step, name) for step, name in zip(steps, names, strict=True)]
        json_lines.write(self.path, [fields | {"steps": records}])

    def succeed(self) -> None:
        """The demonstration was ended by who gave it."""
        (row,) = json_lines.read(self.path)
        json_lines.write(self.path, [row | {"outcome": "success"}])

    def kept(self) -> str:
        """What an interruption left, and what to do with it."""
        if not self.path.is_file():
            return "interrupted; nothing was recorded"
        (row,) = json_lines.read(self.path)
        steps = counted(len(row["steps"]), "step")
        return f"interrupted; kept {steps}, outcome unknown: {self.path}; delete it, unless these steps are of use"

    def discard(self) -> None:
        """Leave nothing behind but the pictures that other episodes show, too."""
        self.path.unlink(missing_ok=True)
        others = [path.read_bytes() for path in self.path.parent.glob("*.jsonl")]
        for picture in self._made:
            if not any(picture.name.encode() in other for other in others):
                picture.unlink(missing_ok=True)
        for folder in (self._images, self.path.parent) if self._made else ():
            with suppress(OSError):  # it holds something else
                folder.rmdir()


def record(
    url: str, goal: str, out: Path, *, split: str = "train", task: str = "", private: str = "",
    size: tuple[int, int] = SIZE, drive: Drive | None = None,
) -> Recorded:  # fmt: skip
    """Record one demonstration; without ``drive`` a window opens, and a person demonstrates in it.

    ``task`` is the kind of task, by default the site. Raises ``BrowserMissing``, ``NoDisplay``, ``NoPage``,
    ``NothingRecorded`` and, with nothing kept, what ``drive`` raises. Interrupted, it keeps the steps so far and raises
    ``KeyboardInterrupt``, which says so.
    """
    url = page_address(url, ("http", "https", "file"))
    if (
        drive is None
        and sys.platform == "linux"
        and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    ):
        raise NoDisplay(
            "there is no display for a window to demonstrate in: record where there is one, or play --script FILE"
        )
    episode = Episode(url, goal, out, split, task)
    try:
        with Browser(headless=drive is not None) as browser:
            steps, notes = browser.run(listen(browser, url, episode, private, size, drive))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(episode.kept()) from error
    except Exception:
        if drive is not None:
            episode.discard()
        raise
    if not steps:
        raise NothingRecorded(f"nothing was done on {url}, so nothing was recorded")
    if not notes:
        episode.succeed()
    return Recorded(path=episode.path, steps=steps, notes=notes)


async def listen(
    browser: Browser, url: str, episode: Episode, private: str, size: tuple[int, int], drive: Drive | None
) -> tuple[int, tuple[str, ...]]:
    recorder = Recorder(await browser.new_page(size), size, lambda steps: episode.write(steps, mask), private)
    mask = recorder.secrets.masked
    await recorder.start()
    await visit(recorder.tab, url)
    try:
        await recorder.settled()
        if drive is None:
            print(f"demonstrate in the window; {STOP}, or closing it, ends the recording", file=sys.stderr, flush=True)
            await recorder.stopped.wait()
        else:
            await drive(recorder)
            await recorder.settled()
    finally:
        steps = await recorder.finish()
    return steps, tuple(recorder.notes)


async def act(recorder: Recorder, step: Step) -> None:
    """Do a step on the page, and wait until it is drawn; raises ``UnsupportedAction``."""
    await perform(recorder.tab, step.action, recorder.size, partial(recorder.tab.evaluate, SETTLE))
    await recorder.settled()


async def until(recorder: Recorder, wanted: Callable[[tuple[Element, ...]], Step | str]) -> Step | str:
    """What is wanted of a screen, as soon as one shows it; after ``PATIENCE``, why not."""
    from playwright.async_api import Error

    found: Step | str = "the page does not answer"
    for _ in range(int(PATIENCE / 0.25)):
        try:
            found = wanted(await recorder.look())
        except Error as error:  # between two pages
            found = str(error).splitlines()[0]
        if isinstance(found, Step):
            break
        await recorder.tab.wait_for_timeout(250)
    return found


def replay(
    path: Path, url: str | None = None, *, private: str = "", secret: Callable[[str], str] | None = None
) -> list[Replayed]:
    """Do the episodes of a file again, each on its page (or on ``url``), and say which are still valid.

    A step is valid if what it aims at is where it was. ``secret`` gives what to type where the recording has it masked,
    from the instruction. Raises ``BrowserMissing``, and ``SourceError`` for a file that cannot be read.
    """
    addresses = {row["id"]: row.get("url") for row in json_lines.iterate(path)}
    found = []
    with Browser() as browser:
        for episode in jsonl.read(path):
            if not isinstance(episode, Trajectory):
                found.append(Replayed(id=episode.id, steps=0, problem=str(episode)))
                continue
            address = url or addresses[episode.id]
            if not address:
                raise ConfigError(f"{path} does not say where {episode.id} was recorded; give the address: --url URL")
            found.append(browser.run(_replayed(browser, address, episode, private, secret)))
    return found


async def _replayed(
    browser: Browser, url: str, episode: Trajectory, private: str, secret: Callable[[str], str] | None
) -> Replayed:
    first = episode.steps[0]
    size = (first.width or SIZE[0], first.height or SIZE[1])
    tab = await browser.new_page(size)
    recorder = Recorder(tab, size, lambda steps: None, private)
    await recorder.start()
    await visit(tab, url)
    await recorder.settled()
    problem, changed = "", []
    for number, step in enumerate(episode.steps, start=1):
        typed = number > 1 and episode.steps[number - 2].action.type == "type"
        problem, other = await redo(recorder, step, secret, typed)
        if problem:
            problem = f"Step {number} of {len(episode.steps)}, {step.instruction}: {problem}"
            break
        changed += [number] * other
    await recorder.finish()
    return Replayed(id=episode.id, steps=len(episode.steps), problem=problem, changed=tuple(changed))


async def redo(
    recorder: Recorder, step: Step, secret: Callable[[str], str] | None = None, typed: bool = False
) -> tuple[str, bool]:
    """Do a recorded step if it is still valid; else why not, and whether its screen has other elements.

    ``typed``: the step before it was a text, which the field has to hold as it did.
    """
    seen: list[tuple[Element, ...]] = []

    def wanted(elements: tuple[Element, ...]) -> Step | str:
        seen[:] = [elements]
        return (typed and misspelt(step, elements)) or difference(step, elements) or step

    found = await until(recorder, wanted)
    if isinstance(found, str):
        return found, True
    action = step.action
    if action.type == "type" and action.get("text") == MASK:
        if secret is None:
            return "its text is private, and nobody is there to be asked for it", False
        action = replace(action, arguments=(("text", secret(step.instruction)),))
    try:
        await act(recorder, replace(step, action=action))
    except UnsupportedAction as error:
        return str(error), False
    return "", seen[0] != step.elements


def difference(step: Step, elements: tuple[Element, ...]) -> str:
    """What speaks against doing a recorded step on a screen with these elements; empty if nothing does."""
    before = step.elements or ()
    if step.action.point is None:
        then, now = (next((e for e in each if "focused" in e.state.split()), None) for each in (before, elements))
        if then is None or (now is not None and named(now) == named(then)):
            return ""
        return f"{named(then)} had the focus, and now {named(now) if now else 'nothing'} has"
    old, new = (element_at(step.action.point, each) for each in (before, elements))
    if old is None or (new is not None and named(elements[new]) == named(before[old])):
        return ""
    other = f"{named(elements[new])} is" if new is not None else "nothing is"
    index = locate(step.instruction, elements)
    moved = index is not None and named(elements[index]) == named(before[old])
    return f"{other} where it was{', and it has moved' if moved else ', and it is nowhere on the screen'}"


def misspelt(step: Step, elements: tuple[Element, ...]) -> str:
    """What the field that has the focus holds, if that is not what it held when the step was recorded."""
    then, now = (
        next((e for e in each if "focused" in e.state.split()), None) for each in (step.elements or (), elements)
    )
    if then is None or now is None or now.value == then.value:
        return ""
    return f"{named(now)} holds {now.value!r}, and held {then.value!r} when it was recorded"


def named(element: Element) -> str:
    """An element in words."""
    return f'{element.role} "{element.text}"'
