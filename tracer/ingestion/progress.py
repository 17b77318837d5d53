"""A progress bar for long work in parts: parts done, steps per second, the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Bar:
    """Counts; a bar that is drawn is a subclass."""

    def __init__(self) -> None:
        self.total_steps = 0
        self.done = 0

    def steps(self, count: int) -> None:
        """Count steps that were read."""
        self.total_steps += count

    def finished(self) -> None:
        """Count a part that is finished."""
        self.done += 1


class Drawn(Bar):
    """A bar that is drawn."""

    def __init__(self, progress: Any, task: Any) -> None:
        super().__init__()
        self._progress, self._task = progress, task

    def steps(self, count: int) -> None:
        """Count steps that were read, and show their rate."""
        super().steps(count)
        elapsed = self._progress.tasks[self._task].elapsed or 0.0
        rate = self.total_steps / elapsed if elapsed else 0.0
        self._progress.update(self._task, rate=f"{self.total_steps} steps, {rate:.0f}/s")

    def finished(self) -> None:
        """Count a part that is finished, and move the bar."""
        super().finished()
        self._progress.advance(self._task)


@contextmanager
def bar(title: str, parts: int, drawn: bool) -> Iterator[Bar]:
    """A bar over the parts, drawn to the standard error stream or only counted."""
    if not drawn:
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield Drawn(progress, progress.add_task(title, total=parts, rate=""))
