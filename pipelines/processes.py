"""A ``tracer`` command in a process of its own, through Dagster Pipes.

The command runs under ``pipelines.supervisor`` in a process group of its own. However the step ends (done, failed,
terminated in the UI, or this process killed), the whole group ends with it: dagster's own client sends one signal to
one process, and what that process started lives on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import dagster as dg

GRACE_SECONDS = 10.0
REPORTED = (1, 2)


def run(context: dg.AssetExecutionContext | dg.OpExecutionContext, command: Sequence[str], stall_seconds: int) -> None:
    """Run a command to its end; raises ``dg.Failure`` if it fails or says nothing for ``stall_seconds``."""
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesTempFileContextInjector(),
        message_reader=dg.PipesTempFileMessageReader(),
    ) as session:
        process = subprocess.Popen(
            supervised(command, stall_seconds, interpreter=sys.executable, leash=True),
            env={**os.environ, **session.get_bootstrap_env_vars()},
            stdin=subprocess.PIPE,  # the leash: it closes when this process dies, however it dies
            start_new_session=True,
        )
        try:
            code = process.wait()
        finally:
            end(process)
    if code:
        raise dg.Failure(
            f"`{' '.join(command)}` ended with code {code}; its last lines are in the step's log. "
            f"Run it again: it continues from its last checkpoint",
            # An error that the command itself reports stays one; a process that was killed, or stalled, may not be.
            allow_retries=code not in REPORTED,
        )


def supervised(command: Sequence[str], stall_seconds: int, interpreter: str, leash: bool = False) -> list[str]:
    """The command under its supervisor."""
    options = ["--stall", str(stall_seconds), *(["--leash"] if leash else [])]
    return [interpreter, "-m", "pipelines.supervisor", *options, "--", *command]


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process's whole group: ask, wait, insist."""
    for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds)
    if process.stdin is not None:
        process.stdin.close()
