"""Train, base, gate and plan."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracer.cli.common import PLANNERS, Command, Out, Result, finished, run_step
from tracer.config import Config
from tracer.settings import ConfigError
from tracer.stages import MODELS, STAGES
from tracer.training.stage import Stage

Start = typer.Option(help=f"Another planner to start from: {PLANNERS}.", autocompletion=lambda: list(MODELS))

StageName = StrEnum("StageName", {stage.name: stage.name for stage in STAGES})  # type: ignore[misc]


def training_of(stage: Stage) -> Command:
    """The command that trains a stage."""

    def train(
        config: Config,
        overrides: list[str],
        start: Annotated[str | None, Start] = None,
        out: Out = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would do and need.")] = False,
    ) -> Result | None:
        from tracer import flow
        from tracer.registry import start as starts
        from tracer.training import processes

        step = flow.step(stage.name)
        out = out or step.out(config)
        named = None if start is None else flow.model(config, start)  # a wrong name ends here, before anything is made
        if dry_run:
            from tracer.capacity import dry_run as dry

            config = starts.resolved(config)
            begin = named or flow.model(config, stage.start)
            more = ["--seed", str(config.seed), *(word for each in overrides for word in ("--set", each))]
            text = dry.dry_run(config, stage, config.out("ingest"), begin, out, more)
            return Result(data={"dry_run": text.splitlines()}, text=text)
        if processes.world() == 1:  # several would all make what is missing
            flow.prepare(config, step, [] if start is None else [stage.start, *flow.with_gate(stage.start)])
        begin = named or flow.model(config, stage.start)
        result = finished(lambda: step.run(config, out, given={stage.start: begin}), out)
        return result if processes.main() else None

    train.__doc__ = f"""{stage.about[0].upper()}{stage.about[1:]}.

    Example: tracer train {stage.name} --profile tiny --seed 1 --set {stage.name}.steps=300
    """
    train.__name__ = stage.name
    return train


def tiny(
    config: Config,
    episodes: Annotated[
        Path, typer.Option(exists=True, help="Raw episodes, such as `tracer record` writes, or ingested ones.")
    ],
    out: Out = None,
) -> Result:
    """Build the tiny base planner from nothing but episodes, supervised: a base for your own pages.

    Where planner.image is false, as in the profile tools, it is a language model alone.

    Example: tracer base tiny --profile tiny --episodes build/recordings/base --out build/bootstrap
    """
    from tracer.ingestion.settings import DATA
    from tracer.planner import hub as models
    from tracer.training import bootstrap

    out = out or models.folder(config)
    if out.resolve().is_relative_to(DATA.resolve()):
        raise ConfigError(
            f"planner.base is {out}, which comes with the project; set it to a folder of your own, such as "
            f"build/bases/mine, or give --out"
        )
    return finished(lambda: bootstrap.train(config, episodes, out), out)


def hub(config: Config, out: Out = None) -> Result:
    """Fetch the profile's base planner from the hub, at its pinned commit.

    Example: tracer base hub --profile qwen3vl-8b
    """
    from tracer.planner import hub as models

    out = out or models.folder(config)
    return finished(lambda: models.fetch(config, out), out)


def registered(config: Config, out: Out = None) -> Result:
    """Fetch the registered version that training starts from, as retrain.from says.

    Example: tracer base registered --set retrain.from=tracer-planner/1
    """
    from tracer.registry import start

    config = start.begin(config)
    out = out or config.out("base")
    return finished(lambda: start.fetch(config, out), out)


def smollm2(
    config: Config,
    profile: str = "smollm2",
    out: Out = None,
    weights: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A GGUF file; by default the package's.")
    ] = None,
    episodes: Annotated[Path | None, typer.Option(exists=True, help="Raw episodes that teach it the grammar.")] = None,
) -> Result:
    """Build a base planner from the weights of SmolLM2; the profile is smollm2 unless another is given.

    Example: tracer base smollm2 --episodes build/recordings/base
    """
    from tracer.planner import hub as models
    from tracer.training import smollm2 as building

    out = out or models.folder(config)
    return finished(lambda: building.build(config, out, weights, episodes), out)


def gate(config: Config, stage: Annotated[StageName, typer.Argument()], out: Out = None) -> Result:
    """Check what a stage trained before the next step builds on it.

    Example: tracer gate stage1 --profile demo
    """
    return run_step(config, f"gate-{stage}", out)


def plan(
    config: Config,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="The kind, as tracer/capacity/fleet.yaml or --fleet lists it; by default h100, and two-cores where no "
            "GPU is there and the profile needs none."
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="How many; by default those that the profile asks for.")
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="GPUs and prices of your own.")
    ] = None,
    prompt_tokens: Annotated[float | None, typer.Option(min=1, help="Of a prompt, on average.")] = None,
    completion_tokens: Annotated[float | None, typer.Option(min=1, help="Of a completion, on average.")] = None,
    states: Annotated[int, typer.Option(min=0, help="That a stage selects its prompts from.")] = 0,
) -> Result:
    """Say what a profile needs on a fleet: GPU memory, batch, hours, disk and cost; exit code 1 where it cannot fit.

    Example: tracer plan --profile qwen3vl-8b --gpu h100
    """
    from tracer.capacity import fleet as fleets
    from tracer.capacity import plan as planning
    from tracer.capacity.hours import Work

    gpu = gpu or fleets.usual(config)
    work = Work(
        prompt=prompt_tokens or config.planner.max_prompt_tokens,
        completion=completion_tokens or config.planner.max_new_tokens,
        states=states,
    )
    found = planning.plan(config, gpu, fleets.gpu(gpu, fleet), count, work)
    return Result(data=found.to_dict(), text=str(found), ok=not found.refused)


def manifest(
    config: Config,
    overrides: list[str],
    stage: Annotated[StageName, typer.Argument()],
    gpu: Annotated[str | None, typer.Option(help="As `tracer plan` takes it; two-cores is a pod without one.")] = None,
    image: Annotated[str | None, typer.Option(help="By default tracer:gpu, and tracer:local for two-cores.")] = None,
) -> Result:
    """Print a stage as a JobSet for Kubernetes: its machines, and a vLLM server where it asks one.

    What cannot fit is refused, as by `tracer plan`.

    Example: tracer manifest stage1 --profile qwen3vl-32b --gpu h100
    """
    import yaml

    from tracer import flow
    from tracer.capacity import fleet as fleets
    from tracer.capacity import jobset, pods
    from tracer.capacity import plan as planning

    gpu = gpu or fleets.usual(config)
    found = planning.plan(config, gpu, fleets.gpu(gpu))
    if found.refused:
        raise ConfigError("; ".join(found.refused))
    cpu = gpu == fleets.CPU
    record = next(each for each in STAGES if each.name == stage)
    more = ["--seed", str(config.seed), *(word for each in overrides for word in ("--set", each))]
    document = jobset.jobset(
        config,
        record,
        flow.model(config, record.start) / "model",
        0 if cpu else config.launch.gpus,
        image or (pods.IMAGE_CPU if cpu else pods.IMAGE),
        more,
    )
    return Result(data=document, text=yaml.safe_dump(document, sort_keys=False))


TRAIN = tuple(map(training_of, STAGES))
BASE = (tiny, hub, registered, smollm2)
COMMANDS = (gate, plan, manifest)
