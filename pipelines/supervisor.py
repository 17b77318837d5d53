"""Runs a command for Dagster Pipes: ``python -m pipelines.supervisor [--leash] [--stall S] -- COMMAND``.

The command knows nothing of Dagster. Its output becomes the step's log, a run that says nothing for S seconds is
ended, and with ``--leash`` everything ends when whoever holds standard input goes away. Needs ``dagster_pipes`` only.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import Any

from dagster_pipes import PipesContext, open_dagster_pipes

AGAIN = os.EX_TEMPFAIL  # 75: try again
GRACE_SECONDS = 10.0
EVICTED_SECONDS = 28.0
"""How long a command has for its checkpoint when the machine is wanted back: Kubernetes kills after 30."""
LOG_EVERY_SECONDS = 5.0
PR_SET_PDEATHSIG = 1
LAST_LINES = 30


def main() -> int:
    """Run the command and report to Dagster; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leash", action="store_true")
    parser.add_argument("--stall", type=float, default=3600.0)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    with open_dagster_pipes() as pipes:
        if isinstance(pipes, PipesContext):  # the command's lines name Dagster's run
            os.environ["TRACER_RUN_ID"] = pipes.run_id
        return supervise(arguments.command, pipes, arguments.stall, arguments.leash)


def supervise(command: list[str], pipes: PipesContext, stall_seconds: float, leash: bool) -> int:
    """Run the command to its end and return its exit code, or ``AGAIN`` where it stalled or SIGTERM was sent here."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        preexec_fn=die_with_parent,
    )
    asked = threading.Event()

    def stop(*_: object) -> None:
        asked.set()
        threading.Thread(target=end, args=(process, EVICTED_SECONDS), daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    heard = Heard()
    reader = threading.Thread(target=forward, args=(process, pipes, heard), daemon=True)
    reader.start()
    if leash:
        threading.Thread(target=hold, args=(process,), daemon=True).start()
    while True:
        try:
            code = process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            if time.monotonic() - heard.last > stall_seconds:
                pipes.log.error(f"no output for {stall_seconds:.0f} s: ending the process; a retry resumes it")
                end(process)
                return AGAIN
        else:
            reader.join(timeout=GRACE_SECONDS)
            if code:
                pipes.log.error("\n".join([f"ended with code {code}; its last lines:", *heard.lines]))
            return AGAIN if asked.is_set() else code  # a launcher of several processes has a code of its own


class Heard:
    """When the command last said something, and its last lines."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.lines: deque[str] = deque(maxlen=LAST_LINES)


def forward(process: subprocess.Popen[str], pipes: PipesContext, heard: Heard) -> None:
    """Pass every line on (unless ``TRACER_TERSE`` is set), and one every few seconds to the step's log."""
    logged, terse = 0.0, bool(os.environ.get("TRACER_TERSE"))
    assert process.stdout is not None
    for line in process.stdout:
        if not line.strip():
            continue
        if not terse:
            print(line, end="", flush=True)
        heard.last = time.monotonic()
        heard.lines.append(line.rstrip())
        if heard.last - logged > LOG_EVERY_SECONDS:
            logged = heard.last
            pipes.log.info(line.strip()[:500])


def hold(process: subprocess.Popen[str]) -> None:
    """Wait for the other end of standard input to close: whoever started this is gone, so everything has to go."""
    while os.read(0, 1):  # not sys.stdin, whose lock this thread would hold when the interpreter ends
        pass
    end(process)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def end(process: subprocess.Popen[Any], seconds: float = GRACE_SECONDS) -> None:
    """Ask the command to stop, then make it."""
    process.terminate()
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()


def die_with_parent() -> None:
    """Linux: the command dies when this process is killed, which leaves it no time to end anything."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
