"""A progress bar for long work, on the standard error stream: drawn on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_SECONDS = 30.0
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("{task.fields[note]}"),
    TimeRemainingColumn(),
)


class Bar:
    """What is done of a total, with a note beside it."""

    def __init__(self, progress: Progress, task: TaskID, lines: bool) -> None:
        self._progress, self._task, self._lines, self._printed = progress, task, lines, time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._progress.tasks[self._task].elapsed or 1e-9

    def advance(self, count: int, note: str) -> None:
        """Count what was finished, and replace the note."""
        self._progress.update(self._task, advance=count, note=note)
        task, now = self._progress.tasks[self._task], time.monotonic()
        if self._lines and (now - self._printed > LINE_SECONDS or task.finished):
            self._printed = now
            print(f"{task.description}: {task.completed}/{task.total}, {note}", file=sys.stderr)


@contextmanager
def bar(title: str, total: int, *, done: int = 0, shown: bool = True) -> Iterator[Bar]:
    """A bar over ``total`` things of which ``done`` are done already; it only counts unless ``shown``."""
    console = Console(stderr=True)
    drawn = shown and console.is_terminal
    with Progress(*COLUMNS, console=console, disable=not drawn) as progress:
        task = progress.add_task(title, total=total, completed=done, note="")
        yield Bar(progress, task, lines=shown and not drawn)
