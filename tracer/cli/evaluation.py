"""Evaluate a planner offline and online, and report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tracer.cli.common import Model, Out, Result, finished, run_step
from tracer.config import Config
from tracer.stages import MODELS


def offline(config: Config, model: Model = MODELS[-1], out: Out = None) -> Result:
    """Forecast from held-out states and compare with what was really done.

    Example: tracer evaluate offline --model tracer-planner@champion
    """
    return _evaluate("offline", config, model, out)


def online(config: Config, model: Model = MODELS[-1], out: Out = None) -> Result:
    """Play whole episodes on MiniWoB++ in Chromium.

    Example: tracer evaluate online --model tracer-planner@champion
    """
    return _evaluate("online", config, model, out)


def _evaluate(kind: Literal["offline", "online"], config: Config, model: str, out: Path | None) -> Result:
    from tracer import flow

    step = flow.evaluation(kind, model)
    flow.prepare(config, step)
    out = out or step.out(config)
    return finished(lambda: step.run(config, out), out)


def report(config: Config, out: Out = None) -> Result:
    """Write one HTML page of results, curves and forecasts drawn on their screens.

    Example: tracer report --profile demo
    """
    return run_step(config, "report", out)


EVALUATE = (offline, online)
COMMANDS = (report,)
