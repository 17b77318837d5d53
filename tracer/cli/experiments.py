"""Bench, ablate and stages."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tracer.cli.common import command, config_of, positive
from tracer.flow import model


def add(commands: Any) -> None:
    bench = command(commands, "bench", "seconds and tokens of a training step, beside a bare TRL script", _bench)
    bench.add_argument("--steps", type=positive, default=20)
    bench.add_argument("--seeds", type=positive, default=1)
    bench.add_argument("--out", type=Path, default=Path("docs/bench"))
    bench.add_argument("--check", action="store_true", help="compare with what is recorded; record nothing")
    bench.add_argument("--tolerance", type=float, default=0.25)
    ablate = command(commands, "ablate", "the paper's ablations, and ours", _ablate)
    ablate.add_argument("--seeds", type=positive, default=3)
    ablate.add_argument("--only", nargs="+", default=[], metavar="VARIANT")
    ablate.add_argument("--out", type=Path, default=Path("docs/ablations"))
    stages = command(commands, "stages", "what each stage is worth: the whole chain over several seeds", _stages)
    stages.add_argument("--seeds", type=positive, default=3)
    stages.add_argument("--out", type=Path, default=Path("docs"), help="where stages.md is written")


def _bench(arguments: argparse.Namespace) -> int:
    from tracer.experiments import bench, bench_page

    config, out = config_of(arguments), arguments.out
    result = bench.bench(
        config,
        model(config, "base"),
        config.out("ingest"),
        config.folder / "bench",
        steps=arguments.steps,
        seeds=arguments.seeds,
    )
    problems = bench.check(result, out, arguments.tolerance)
    if not arguments.check:
        bench.record(result, out)
        bench_page.write_page(out, out.parent / "speed.md")
    print(json.dumps({"speedup": result["speedup"], "reward_share": result["reward_share"]}, indent=2))
    for problem in problems:
        print(f"tracer: {problem}", file=sys.stderr)
    return int(bool(problems))


def _ablate(arguments: argparse.Namespace) -> int:
    from tracer.experiments import ablation, ablation_page

    profile = config_of(arguments).profile
    told = ablation.ablate(profile, seeds=arguments.seeds, only=arguments.only, overrides=arguments.overrides)
    ablation.record(told, profile, arguments.seeds, arguments.overrides, arguments.out)
    ablation_page.write_page(arguments.out, arguments.out.parent / "ablations.md")
    for each in told:
        print(each["name"], each["verdict"])
    return 0


def _stages(arguments: argparse.Namespace) -> int:
    from tracer.experiments import stages

    profile = config_of(arguments).profile
    told = stages.run(profile, seeds=arguments.seeds, overrides=arguments.overrides)
    print(stages.write_page(told, arguments.out).read_text(), end="")
    return 0
