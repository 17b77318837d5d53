"""Train, base and gate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tracer import flow
from tracer.cli.common import PLANNERS, command, config_of, done, run_step
from tracer.stages import STAGES


def add(commands: Any) -> None:
    train = commands.add_parser(
        "train", help="train a planner: bootstrap, or a stage of RL", description="Train a planner."
    )
    stages = train.add_subparsers(title="stages", required=True, metavar="STAGE")
    bootstrap = command(stages, "bootstrap", "the tiny base planner, supervised, from raw episodes", _bootstrap)
    bootstrap.add_argument("--episodes", type=Path, required=True, help="what `tracer record` wrote")
    bootstrap.add_argument("--out", type=Path)
    for stage in STAGES:
        added = command(stages, stage.name, stage.about, _train)
        added.set_defaults(stage=stage)
        added.add_argument("--start", help=f"another planner to start from than {stage.start}: {PLANNERS}")
        added.add_argument("--out", type=Path)
        added.add_argument("--dry-run", action="store_true", help="print what it would do and need; touch nothing")

    base = command(commands, "base", "a base planner: from the hub at its pinned commit, or SmolLM2's weights", _base)
    base.add_argument("kind", choices=("hub", "smollm2"))
    base.add_argument("--out", type=Path, help="a folder (default: where the profile looks for it)")
    base.add_argument("--weights", type=Path, help="smollm2: a GGUF file (default: the package's)")
    base.add_argument("--episodes", type=Path, help="smollm2: raw episodes that teach it the grammar")

    gate = command(commands, "gate", "check what a stage trained before the next one builds on it", _gate)
    gate.add_argument("stage", choices=[stage.name for stage in STAGES])
    gate.add_argument("--out", type=Path)


def _gate(arguments: argparse.Namespace) -> int:
    return run_step(arguments, f"gate-{arguments.stage}")


def _bootstrap(arguments: argparse.Namespace) -> int:
    from tracer.training import bootstrap

    config = config_of(arguments)
    out = arguments.out or config.out("bootstrap")
    return done(bootstrap.train(config, arguments.episodes, out), out)


def _train(arguments: argparse.Namespace) -> int:
    from tracer.training import preflight, processes

    config = config_of(arguments)
    step = flow.step(arguments.stage.name)
    out = arguments.out or step.out(config)
    start = flow.model(config, arguments.start or arguments.stage.start)
    if arguments.dry_run:
        more = ["--seed", str(config.seed), *(word for each in arguments.overrides for word in ("--set", each))]
        print(preflight.dry_run(config, arguments.stage, config.out("ingest"), start, out, more), end="")
        return 0
    lineage = step.run(config, out, given={arguments.stage.start: start})
    return done(lineage, out) if processes.main() else 0


def _base(arguments: argparse.Namespace) -> int:
    from tracer.planner import hub, smollm2

    if arguments.kind == "smollm2":
        arguments.profile = arguments.profile or "smollm2"
    config = config_of(arguments)
    out = arguments.out or hub.folder(config)
    if arguments.kind == "hub":
        return done(hub.fetch(config, out), out)
    return done(smollm2.build(config, out, arguments.weights, arguments.episodes), out)
