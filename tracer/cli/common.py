"""What every subcommand shares: its options, the configuration they name, and how it says what it did."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracer import flow
from tracer.config import Config, load
from tracer.stages import MODELS

PLANNERS = f"{', '.join(MODELS)}, a folder, or a registered name@alias"
Handler = Callable[[argparse.Namespace], int]


def command(commands: Any, name: str, help: str, handler: Handler, profile: bool = True) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    added.set_defaults(handler=handler)
    if profile:
        added.add_argument("--profile", help="a profile of params.yaml (default: the one it names)")
        added.add_argument("--seed", type=int, help="the seed, which also names the output folder")
        added.add_argument(
            "--set",
            dest="overrides",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override, such as stage1.steps=10",
        )
        added.add_argument("--force", action="store_true", help="allow a horizon over 10")
    return added


def config_of(arguments: argparse.Namespace) -> Config:
    overrides = list(arguments.overrides)
    if arguments.seed is not None:
        overrides.append(f"seed={arguments.seed}")
    return load(arguments.profile, overrides, force=arguments.force)


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def run_step(arguments: argparse.Namespace, name: str) -> int:
    """Run a step of the flow, into ``--out`` or where the flow has it."""
    config = config_of(arguments)
    out = arguments.out or flow.step(name).out(config)
    return done(flow.step(name).run(config, out), out)


def done(lineage: dict[str, Any], out: Path) -> int:
    print(
        json.dumps(
            {"out": str(out), "digest": lineage["digest"][:12], "seconds": lineage["seconds"], **lineage["metrics"]},
            indent=2,
        )
    )
    return 0
