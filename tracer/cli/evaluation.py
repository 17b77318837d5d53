"""Evaluate and report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tracer import flow
from tracer.cli import benchmarks as benchmarks
from tracer.cli.common import PLANNERS, command, config_of, done, run_step
from tracer.stages import MODELS


def add(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="a planner: offline, online, or on a benchmark")
    kinds = evaluate.add_subparsers(title="on what", required=True, metavar="WHAT")
    for name, help in (("offline", "held-out states"), ("online", "the plan-act loop on MiniWoB++ in Chromium")):
        kind = command(kinds, name, help, _evaluate)
        kind.set_defaults(benchmark=name)
        kind.add_argument("--model", default=MODELS[-1], help=PLANNERS)
        kind.add_argument("--out", type=Path)
    benchmarks.register(commands, kinds)

    report = command(
        commands, "report", "one HTML page of results, curves and forecasts drawn on their screens", _report
    )
    report.add_argument("--out", type=Path)


def _evaluate(arguments: argparse.Namespace) -> int:
    config = config_of(arguments)
    step = flow.evaluation(arguments.benchmark, arguments.model)
    out = arguments.out or step.out(config)
    return done(step.run(config, out), out)


def _report(arguments: argparse.Namespace) -> int:
    return run_step(arguments, "report")
