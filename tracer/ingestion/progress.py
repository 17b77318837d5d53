"""A progress bar for long work in parts: parts done, steps a second, the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Bar:
    """What the bar counts."""

    def __init__(self, progress: Any, task: Any) -> None:
        self.total_steps = 0
        self._progress, self._task = progress, task

    def steps(self, count: int) -> None:
        """Count steps."""
        self.total_steps += count
        elapsed = self._progress.tasks[self._task].elapsed
        rate = self.total_steps / elapsed if elapsed else 0.0
        self._progress.update(self._task, rate=f"{self.total_steps} steps, {rate:.0f}/s")

    def finished(self) -> None:
        """Count a finished part."""
        self._progress.advance(self._task)


@contextmanager
def bar(title: str, parts: int, drawn: bool) -> Iterator[Bar]:
    """A bar over that many parts, drawn on the standard error stream or only counted."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not drawn) as progress:
        yield Bar(progress, progress.add_task(title, total=parts, rate=""))
