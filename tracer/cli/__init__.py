"""The ``tracer`` command: each subcommand calls one function of the library, and imports what is heavy only then."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

import typer

from tracer.cli import benchmarks, data, evaluation, experiments, inspect, registry, training

ROOMS = (inspect, data, training, evaluation, registry, benchmarks, experiments)
INTERRUPTED = 130


def application() -> Callable[..., None]:
    """All commands as one callable, which takes the arguments and ends in ``SystemExit``."""
    app = typer.Typer(
        name="tracer",
        help="Forecast a trajectory, execute its first step, forecast again.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for room in ROOMS:
        room.add(app)
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 for a failed step or gate, 2 for wrong arguments, 130 for Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        application()(args=argv, prog_name="tracer")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print("tracer: interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return ended.code if isinstance(ended.code, int) else 0
    except Exception as error:
        # Our own errors say what is wrong and how to fix it; any other is a bug and keeps its traceback.
        # A full disk, a folder without write permission or a server that does not answer are not bugs either.
        if not type(error).__module__.startswith(("tracer.", "pipelines.")) and not isinstance(error, OSError):
            raise
        print(f"tracer: {error}", file=sys.stderr)
        return 1
    return 0
