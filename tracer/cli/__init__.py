"""The ``tracer`` command: a subcommand calls one function of the library, and imports nothing heavy before it runs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from tracer.cli import data, evaluation, experiments, look, registry, training
from tracer.cli.common import Handler


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit code is 0, 1 for a failed step or gate, 2 for wrong arguments, 130 for Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = parser().parse_args(argv)
    handler: Handler = arguments.handler
    try:
        return handler(arguments)
    except Exception as error:
        # Our own errors say what is wrong and how to mend it; any other is a bug, and keeps its traceback.
        # A full disk, a folder nobody may write to, a server nobody answers at are no bugs either.
        if not type(error).__module__.startswith(("tracer.", "pipelines.")) and not isinstance(error, OSError):
            raise
        print(f"tracer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tracer: interrupted; run the same command again to go on from the last checkpoint", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="tracer", description="Forecast a trajectory, execute its first step, forecast again."
    )
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for part in (data, training, evaluation, registry, experiments, look):
        part.add(commands)
    return root
