"""Train, base and gate."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracer import flow
from tracer.cli.common import PLANNERS, Out, Result, command, finished, step_result
from tracer.config import Config, load
from tracer.stages import STAGES
from tracer.training.stage import Stage

StageName = StrEnum("StageName", {stage.name: stage.name for stage in STAGES})  # type: ignore[misc]
Kind = StrEnum("Kind", {"hub": "hub", "smollm2": "smollm2"})


def add(app: typer.Typer) -> None:
    """Register the commands."""
    train = typer.Typer(no_args_is_help=True, help="Train a planner: the base, or a stage of RL.")
    command(train, "bootstrap")(bootstrap)
    for stage in STAGES:
        command(train, stage.name)(training_of(stage))
    app.add_typer(train, name="train")
    command(app, "base")(base)
    command(app, "gate")(gate)


def bootstrap(
    config: Config,
    episodes: Annotated[Path, typer.Option(help="What `tracer record` wrote.")],
    out: Out = None,
) -> Result:
    """Train the tiny base planner, supervised, from raw episodes.

    Example: tracer train bootstrap --profile tiny --episodes build/recordings/base
    """
    from tracer.training import bootstrap as training

    out = out or config.out("bootstrap")
    return finished(training.train(config, episodes, out), out)


def training_of(stage: Stage) -> Callable[..., Result | None]:
    """The command that trains a stage."""

    def train(
        config: Config,
        overrides: list[str],
        start: Annotated[str | None, typer.Option(help=f"Another planner to start from: {PLANNERS}.")] = None,
        out: Out = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would do and need.")] = False,
    ) -> Result | None:
        from tracer.training import preflight, processes

        step = flow.step(stage.name)
        out = out or step.out(config)
        begin = flow.model(config, start or stage.start)
        if dry_run:
            more = ["--seed", str(config.seed), *(word for each in overrides for word in ("--set", each))]
            text = preflight.dry_run(config, stage, config.out("ingest"), begin, out, more)
            return Result(data={"dry_run": text.splitlines()}, text=text)
        lineage = step.run(config, out, given={stage.start: begin})
        return finished(lineage, out) if processes.main() else None

    train.__doc__ = f"""{stage.about}

    Example: tracer train {stage.name} --profile tiny --seed 1 --set {stage.name}.steps=300
    """
    return train


def base(
    kind: Annotated[Kind, typer.Argument(help="From the hub at its pinned commit, or SmolLM2's weights.")],
    out: Annotated[Path | None, typer.Option(help="A folder; by default where the profile looks for it.")] = None,
    weights: Annotated[Path | None, typer.Option(help="smollm2: a GGUF file; by default the package's.")] = None,
    episodes: Annotated[Path | None, typer.Option(help="smollm2: raw episodes that teach it the grammar.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of params.yaml; by default the one it names.")] = None,
    overrides: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")] = [],  # noqa: B006
) -> Result:
    """Fetch or build a base planner.

    Example: tracer base smollm2 --episodes build/recordings/base
    """
    from tracer.planner import hub
    from tracer.training import smollm2

    config = load(profile or ("smollm2" if kind == Kind.smollm2 else None), overrides)
    out = out or hub.folder(config)
    if kind == Kind.hub:
        return finished(hub.fetch(config, out), out)
    return finished(smollm2.build(config, out, weights, episodes), out)


def gate(config: Config, stage: Annotated[StageName, typer.Argument()], out: Out = None) -> Result:
    """Check what a stage trained before the next step builds on it.

    Example: tracer gate stage1 --profile demo
    """
    return step_result(config, f"gate-{stage.value}", out)
