"""Bench, measure, ablate, stages and compare-agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracer.cli.common import PLANNERS, Count, Result
from tracer.config import Config
from tracer.stages import MODELS

ENDS = [MODELS[0], MODELS[-1]]


def bench(
    config: Config,
    steps: Count = 20,
    seeds: Count = 3,
    out: Annotated[Path, typer.Option(file_okay=False)] = Path("docs/bench"),
    check: Annotated[bool, typer.Option("--check", help="Compare with what is recorded; record nothing.")] = False,
    tolerance: float = 0.25,
) -> Result:
    """Measure seconds and tokens of a training step, beside plain TRL.

    Example: tracer bench --profile tiny --steps 20 --seeds 3
    """
    from tracer import flow
    from tracer.experiments import bench as benching

    if not check:
        benching.require_recordable(steps, seeds)
    base, data = flow.model(config, "base"), config.out("ingest")
    result = benching.bench(config, base, data, config.folder / "bench", steps=steps, seeds=seeds)
    problems = benching.check(result, out, tolerance)
    if not check:
        benching.record(result, out)
    found = {"speedup": result["speedup"], "reward_share": result["reward_share"], "problems": list(problems)}
    return Result(data=found, ok=not problems)


def measure(config: Config, steps: Count = 100, page: Path = Path("docs/full-size.md")) -> Result:
    """Measure a profile's training step, by phase and beside its plan, into docs/full-size.md.

    Example: tracer measure --profile qwen3vl-8b --steps 100
    """
    from tracer import flow
    from tracer.experiments import full_size

    base, data = flow.model(config, "base"), config.out("ingest")
    result = full_size.measure(config, base, data, config.folder / "measure", steps)
    full_size.fill(page, result)
    return Result(data=result)


def ablate(
    config: Config,
    overrides: list[str],
    seeds: Count = 3,
    only: Annotated[list[str], typer.Option(metavar="VARIANT", help="Only this variant; may be repeated.")] = [],  # noqa: B006
    out: Annotated[Path, typer.Option(file_okay=False)] = Path("docs/ablations"),
) -> Result:
    """Run the paper's ablations, and ours.

    Example: tracer ablate --profile demo --only no-discount
    """
    from tracer.experiments import ablation, ablation_page

    compared = ablation.ablate(config.profile, seeds=seeds, only=only, overrides=overrides)
    ablation.record(compared, config.profile, seeds, overrides, out)
    ablation_page.write_page(out, out.parent / "ablations.md")
    return Result(data=compared, text="\n".join(f"{each['name']} {each['verdict']}" for each in compared))


def stages(
    config: Config,
    overrides: list[str],
    seeds: Count = 3,
    rival: Annotated[
        bool, typer.Option(help="Whether to train the reactive rival too, which doubles the time.")
    ] = True,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where stages.md is written.")] = Path("docs"),
) -> Result:
    """Measure what each stage is worth: the whole pipeline over several seeds.

    Example: tracer stages --profile tiny --seeds 3
    """
    from tracer.experiments import stages as measured

    found = measured.run(config.profile, seeds=seeds, overrides=overrides, rival=rival)
    return Result(data=found, text=measured.write_page(found, out).read_text(encoding="utf-8"))


def compare_agents(
    config: Config,
    planners: Annotated[
        list[str], typer.Option("--model", help=f"A planner to play; may be repeated: {PLANNERS}.")
    ] = ENDS,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where agents.md is written.")] = Path("docs"),
) -> Result:
    """Compare what agents achieve and cost: every planner played by every one of evaluation.strategies.

    Example: tracer compare-agents --model base --set evaluation.episodes=8
    """
    from tracer.experiments import agents

    found = agents.compare(config, planners)
    return Result(data=found, text=agents.write_page(found, out).read_text(encoding="utf-8"))


compare_agents.__name__ = "compare-agents"
COMMANDS = (bench, measure, ablate, stages, compare_agents)
