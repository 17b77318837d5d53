"""Register, promote, rollback, history and lineage."""

from __future__ import annotations

import argparse
from typing import Any

from tracer.cli.common import command, config_of
from tracer.stages import STAGES


def add(commands: Any) -> None:
    command(commands, "register", f"register the planner of {STAGES[-1].title} in MLflow, as challenger", _register)
    promote = command(commands, "promote", "make the challenger champion if it passes the promotion policy", _promote)
    promote.add_argument("--again", action="store_true", help="decide anew on what was decided, or rolled back, before")
    rollback = command(commands, "rollback", "make the previous champion champion again", _rollback)
    rollback.add_argument("--reason", required=True, help="why, for the record")
    command(commands, "history", "every promotion decision, oldest first", _history)
    lineage = command(commands, "lineage", "everything that made a registered model, and how to rebuild it", _lineage)
    lineage.add_argument("model", nargs="?", default="tracer-planner@champion")


def _register(arguments: argparse.Namespace) -> int:
    from tracer import flow
    from tracer.registry import versions

    config = config_of(arguments)
    version = flow.step("register").run(config)
    print(f"{version.uri}, {versions.CHALLENGER}")
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    from tracer import flow
    from tracer.registry import promotion

    config = config_of(arguments)
    step = flow.step("promote")
    decision = flow.promote(config, step.folders(config), step.out(config), again=arguments.again)
    print(promotion.describe(decision))
    return 0 if decision.promoted else 1


def _rollback(arguments: argparse.Namespace) -> int:
    from tracer.registry import promotion

    print(promotion.describe(promotion.rollback(config_of(arguments).registry, arguments.reason)))
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from tracer.registry import promotion

    for decision in promotion.history(config_of(arguments).registry):
        print(promotion.describe(decision))
    return 0


def _lineage(arguments: argparse.Namespace) -> int:
    from tracer.registry import versions

    found = versions.lineage_of(arguments.model, config_of(arguments).registry)
    print(f"{found.version.uri}")
    for step, lineage in found.steps.items():
        print(f"  {step}: output {lineage['output'][:12]}, digest {lineage['digest'][:12]}")
    print("to rebuild it, from a clone of the repository:", *found.commands, sep="\n  ")
    return 0
