"""Evaluate a planner offline and online, and report."""

from __future__ import annotations

import typer

from tracer import flow
from tracer.cli.common import Model, Out, Result, command, finished, step_result
from tracer.config import Config
from tracer.stages import MODELS

EVALUATE = typer.Typer(no_args_is_help=True, help="Evaluate a planner: offline, online, or on a benchmark.")


def add(app: typer.Typer) -> None:
    """Register the commands."""
    command(EVALUATE, "offline")(offline)
    command(EVALUATE, "online")(online)
    app.add_typer(EVALUATE, name="evaluate")
    command(app, "report")(report)


def offline(config: Config, model: Model = MODELS[-1], out: Out = None) -> Result:
    """Forecast from held-out states and compare with what was really done.

    Example: tracer evaluate offline --model tracer-planner@champion
    """
    step = flow.evaluation("offline", model)
    out = out or step.out(config)
    return finished(step.run(config, out), out)


def online(config: Config, model: Model = MODELS[-1], out: Out = None) -> Result:
    """Play whole episodes on MiniWoB++ in Chromium.

    Example: tracer evaluate online --model tracer-planner@champion
    """
    step = flow.evaluation("online", model)
    out = out or step.out(config)
    return finished(step.run(config, out), out)


def report(config: Config, out: Out = None) -> Result:
    """Write one HTML page of results, curves and forecasts drawn on their screens.

    Example: tracer report --profile demo
    """
    return step_result(config, "report", out)
