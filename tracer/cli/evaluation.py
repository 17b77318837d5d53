"""Evaluate and report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tracer.cli import benchmarks as benchmarks
from tracer.cli.common import command, config_of, done, run_step
from tracer.flow import MODELS, model


def add(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="a planner: offline, online, or on a benchmark")
    kinds = evaluate.add_subparsers(title="on what", required=True, metavar="WHAT")
    for name, help in (("offline", "held-out states"), ("online", "the plan-act loop on MiniWoB++ in Chromium")):
        kind = command(kinds, name, help, _evaluate)
        kind.set_defaults(benchmark=name)
        kind.add_argument("--model", default="stage2", help="base, stage1, stage2, or a folder")
        kind.add_argument("--out", type=Path)
    benchmarks.register(commands, kinds)

    report = command(
        commands, "report", "one HTML page of results, curves and forecasts drawn on their screens", _report
    )
    report.add_argument("--out", type=Path)


def _evaluate(arguments: argparse.Namespace) -> int:
    from tracer.evaluation import offline, online

    config, name = config_of(arguments), arguments.model
    kind = "evaluate" if arguments.benchmark == "offline" else "online"
    out = arguments.out or config.out(f"{kind}-{name if name in MODELS else Path(name).name}")
    if arguments.benchmark == "offline":
        return done(offline.evaluate(config, config.out("ingest"), model(config, name), out), out)
    return done(online.evaluate(config, model(config, name), out), out)


def _report(arguments: argparse.Namespace) -> int:
    return run_step(arguments, "report")
