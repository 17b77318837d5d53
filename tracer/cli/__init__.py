"""The ``tracer`` command: each subcommand calls one function of the library, and imports what is heavy only then.

A command is a function that returns a ``Result``; its parameters are the options, and its docstring is the help, which
ends in an example. To add one, write it into the file of its subject and into ``COMMANDS`` there.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence

import typer

from tracer import logs
from tracer.cli import batches, benchmarks, data, evaluation, experiments, inspect, live, registry, training
from tracer.cli.common import Command, Interrupted, add, group
from tracer.settings import ConfigError
from tracer.training.errors import AGAIN, Evicted

FAILED, WRONG, INTERRUPTED = 1, 2, 130
INTERRUPTION = (
    "tracer: interrupted; run it again: what is finished is found, and training goes on from its last checkpoint, if "
    "there is one"
)

SERVICES = {
    "mlflow.exceptions": "MLflow: {}; see whether MLFLOW_TRACKING_URI answers, and whether MLFLOW_TRACKING_USERNAME "
    "and MLFLOW_TRACKING_PASSWORD are right",
    "botocore.exceptions": "S3: {}; see whether AWS_ENDPOINT_URL answers, and whether AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY are right",
    "sqlalchemy.exc": "the database: {}; see whether it answers, and whether its user and password are right",
}
"""What is said for the errors of a module: no answer, or a refusal. They are no bugs, and have no traceback."""

COMMANDS: dict[str, tuple[Command, ...]] = {
    "Everyday": inspect.COMMANDS,
    "Steps of the pipeline": (*data.COMMANDS, *training.COMMANDS, *evaluation.COMMANDS),
    "Registered versions": registry.COMMANDS,
    "Planners at work": live.COMMANDS,
    "Benchmarks": benchmarks.COMMANDS,
    "Experiments": experiments.COMMANDS,
}
"""The commands, by the title under which the help lists them."""
BEGIN = """tracer trains agents that forecast a few steps, execute the first and forecast again.

  tracer demo                                train, evaluate and register a planner on the sample data
  tracer status                              what is up to date, and why the rest would run again
  tracer view                                watch what the agents did, step by step
  tracer data add FOLDER                     add new recordings, after checking them

tracer --help lists all commands, and tracer COMMAND --help explains one."""


def application() -> Callable[..., None]:
    """All commands as one callable, which takes the arguments and ends in ``SystemExit``."""
    app = typer.Typer(
        name="tracer",
        help="Forecast a trajectory, execute its first step, forecast again.",
        invoke_without_command=True,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def begin(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            print(BEGIN)

    for title, functions in COMMANDS.items():
        add(app, functions, title)
    groups = {
        "train": group("Train a planner: a stage of RL.", training.TRAIN),
        "base": group("Fetch or build a base planner.", training.BASE),
        "data": group("Add new data, list it, remove it.", batches.DATA),
        "evaluate": group(
            "Evaluate a planner: offline, online, or on a benchmark.", (*evaluation.EVALUATE, *benchmarks.EVALUATE)
        ),
    }
    for name, commands in groups.items():
        app.add_typer(commands, name=name, rich_help_panel="Everyday" if name == "data" else "Steps of the pipeline")
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 for what failed or was refused, 2 for a wrong call, 130 for Ctrl-C, 75 for
    a stage that was asked to end and continues when it is run again.

    A call is wrong if it names or sets something that cannot be (``ConfigError``): nothing was done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a goal in another script must not end a command in a plain locale
            stream.reconfigure(errors="backslashreplace")
    logs.begin()
    try:
        for each in sys.argv[1:] if argv is None else argv:
            if each != each.encode("utf-8", "replace").decode():
                raise ConfigError(f"the argument {each!a} is no text in UTF-8")
        application()(args=argv, prog_name="tracer")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            logs.complain(INTERRUPTION)
        return ended.code if isinstance(ended.code, int) else 0
    except Exception as error:
        # Our own errors say what is wrong and how to fix it; any other is a bug and keeps its traceback.
        # A full disk, a folder without write permission or a server that does not answer are not bugs either.
        service = next((SERVICES[kind.__module__] for kind in type(error).__mro__ if kind.__module__ in SERVICES), None)
        ours = type(error).__module__.startswith(("tracer.", "pipelines.")) or isinstance(error, OSError)
        if service is None and not ours:
            raise
        logs.complain(f"tracer: {(service or '{}').format(str(error).strip())}")
        codes = {ConfigError: WRONG, Evicted: AGAIN, Interrupted: INTERRUPTED}
        return next((code for kind, code in codes.items() if isinstance(error, kind)), FAILED)
    return 0
