"""Threads that wait for servers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


def begun(work: Callable[[], Result]) -> Future[Result]:
    """What ``work`` will return or raise, in a thread of its own, which does not keep the process alive."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # whoever waits for it raises it
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def side_by_side(most: int, work: Callable[..., Result], *given: Iterable[Any]) -> list[Result]:
    """What ``work`` returns for each of ``given``, as ``map`` would, from up to ``most`` threads at once.

    Raises the first error in that order; what waits then is not begun. Unlike an executor's, these threads are not
    waited for where something ends the process, such as Ctrl-C: a server may take minutes to answer.
    """
    tasks: list[tuple[Future[Result], tuple[Any, ...]]] = [(Future(), each) for each in zip(*given, strict=True)]
    waiting = deque(tasks)

    def run() -> None:
        while True:
            try:
                future, arguments = waiting.popleft()
            except IndexError:
                return
            try:
                future.set_result(work(*arguments))
            except BaseException as error:  # whoever waits for it raises it
                future.set_exception(error)

    for _ in range(min(most, len(tasks))):
        Thread(target=run, daemon=True).start()
    try:
        return [future.result() for future, _ in tasks]
    finally:
        waiting.clear()
