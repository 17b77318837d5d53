"""Processes that work side by side, and end in silence with their parent's Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

# Forking a process that has threads (Arrow's) or open connections (a browser's) can hang; a fresh interpreter cannot.
SPAWN = get_context("spawn")


class WorkerEnded(RuntimeError):
    """A worker was ended from outside."""


@contextmanager
def pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """An executor of ``count`` processes. What waits when the block ends, as by an exception, is not begun.

    Raises ``WorkerEnded``.
    """
    executor = ProcessPoolExecutor(count, SPAWN, initializer=_end_silently)
    try:
        yield executor
    except BrokenProcessPool as error:
        raise WorkerEnded("a worker was ended, as for lack of memory; run again, with fewer workers") from error
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def starting() -> Iterator[None]:
    """Where processes start: a Ctrl-C reaches them only once they can end in silence, and this process afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_silently() -> None:
    """Let Ctrl-C, which a terminal sends to every process, end this one; the parent is the one to say so."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
