"""Threads side by side: in order, no further than an error, and not in the way of Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from tracer.threads import side_by_side


def test_answers_come_in_order_from_as_many_threads() -> None:
    met = threading.Barrier(3, timeout=60)

    def work(left: int, right: int) -> int:
        met.wait()
        time.sleep(0.001 * (6 - left))
        return left * right

    assert side_by_side(3, work, range(6), range(10, 16)) == [0, 11, 24, 39, 56, 75]
    assert side_by_side(3, work, [], []) == []


def test_what_waits_behind_an_error_is_not_begun() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        raise ValueError(f"number {number}")

    with pytest.raises(ValueError, match="number 0"):
        side_by_side(1, work, range(100_000))
    assert len(begun) < 100_000


def test_nobody_waits_for_them_after_ctrl_c() -> None:
    waiting = """
import signal, time
from tracer.threads import side_by_side
signal.signal(signal.SIGINT, signal.default_int_handler)
print("begun", flush=True)
side_by_side(2, lambda _: time.sleep(600), range(3))
"""
    with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT and said.strip().endswith(b"KeyboardInterrupt")
