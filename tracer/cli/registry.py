"""Register, promote, rollback, history and lineage."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tracer.cli.common import Result
from tracer.config import Config


def register(config: Config) -> Result:
    """Register the trained planner in MLflow, as challenger.

    Example: tracer register --profile demo
    """
    from tracer import flow
    from tracer.registry import versions

    step = flow.step("register")
    flow.prepare(config, step)
    version = step.run(config)
    if version is None:
        return _skipped(config)
    return Result(data=version, text=f"{version.uri}, {versions.CHALLENGER}")


def promote(
    config: Config,
    again: Annotated[bool, typer.Option("--again", help="Decide again on what was decided, or rolled back.")] = False,
    or_refuse: Annotated[
        bool, typer.Option("--or-refuse", help="A refusal is exit code 0, too: for pipelines.")
    ] = False,
) -> Result:
    """Make the challenger champion if it passes the promotion policy. Exit code 1 if it does not.

    Example: tracer promote --profile demo
    """
    from tracer import flow

    step = flow.step("promote")
    flow.prepare(config, step)
    decision = flow.promote(config, step.folders(config), step.out(config), again=again)
    if decision is None:
        return _skipped(config)
    return _decided([decision], decision.promoted or or_refuse)


def _skipped(config: Config) -> Result:
    from tracer import flow

    return Result(data={"skipped": flow.unregistered(config)}, text=flow.unregistered(config))


def rollback(config: Config, reason: Annotated[str, typer.Option(help="Why, for the record.")]) -> Result:
    """Make the previous champion champion again.

    Example: tracer rollback --reason "worse on the shop pages"
    """
    from tracer.registry import promotion

    return _decided([promotion.rollback(config.registry, reason)])


def history(config: Config) -> Result:
    """List every promotion decision, oldest first.

    Example: tracer history
    """
    from tracer.registry import promotion

    return _decided(promotion.history(config.registry))


def _decided(decisions: list[Any], ok: bool = True) -> Result:
    from tracer.registry import promotion

    return Result(data=decisions, text="\n".join(map(promotion.describe, decisions)) or "no decision yet", ok=ok)


def lineage(config: Config, model: Annotated[str, typer.Argument()] = "tracer-planner@champion") -> Result:
    """Show everything that made a registered model, and the commands that rebuild it.

    Example: tracer lineage tracer-planner@champion
    """
    from tracer.registry.rebuild import lineage_of

    found = lineage_of(model, config.registry)
    lines = [found.version.uri]
    for step, each in found.steps.items():
        lines.append(f"  {step}: output {each['output'][:12]}, digest {each['digest'][:12]}")
    lines += ["to rebuild it, from a clone of the repository:", *(f"  {line}" for line in found.commands)]
    data = {"uri": found.version.uri, "steps": found.steps, "commands": found.commands}
    return Result(data=data, text="\n".join(lines))


COMMANDS = (register, promote, rollback, history, lineage)
