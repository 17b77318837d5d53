"""Run everything, and look at it: run, demo, status, why, reward, forecast, schema, dvc-yaml, doctor, metrics."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracer import plugins
from tracer.cli.common import PLANNERS, Result, aligned, examination
from tracer.config import Config
from tracer.json_files import write_whole
from tracer.settings import ConfigError
from tracer.stages import MODELS

EPISODE = "episode"
Format = StrEnum("Format", {name: name for name in (EPISODE, *plugins.names(plugins.BENCHMARKS))})  # type: ignore[misc]
Planner = typer.Argument(help=f"The planner: {PLANNERS}.", autocompletion=lambda: list(MODELS))
Trajectory = Annotated[str | None, typer.Option(help="A trajectory's id; forecast: by default the first held-out one.")]
Step = Annotated[int, typer.Option(min=0, help="From which of its steps on, counted from 0.")]


def run(config: Config) -> Result:
    """Run the whole pipeline, one step after the other, without Dagster.

    Example: tracer run --profile demo
    """
    from tracer import flow

    flow.run(config)
    return _outcome(config)


def demo(config: Config) -> Result:
    """Run the whole pipeline through Dagster, then print the table of results.

    Example: tracer demo
    """
    from pipelines.demo import demo

    demo(config)
    return _outcome(config, registered=True)


def _outcome(config: Config, registered: bool = False) -> Result:
    """What the steps of a finished pipeline made, the table of results and, where registered, the champion."""
    from tracer import flow
    from tracer.lineage.digest import finished
    from tracer.registry import record, versions
    from tracer.reporting.tables import results_table

    made = {step.name: finished(step.out(config)) or {} for step in flow.STEPS if not step.receipt}
    data = {name: {key: lineage.get(key) for key in ("output", "metrics")} for name, lineage in made.items()}
    table = results_table(flow.report_folders(config))
    if not registered:
        return Result(data=data, text=table)
    skipped = flow.unregistered(config)
    champion = None if skipped else versions.aliased(config.registry, record.CHAMPION)
    named = skipped or f"none; `{config.command('history')}` says why the challenger was refused"
    if champion is not None:
        named = f"{champion.name} version {champion.version} ({champion.digest[:12]}), {champion.uri}"
    pages = sorted(flow.step("report").out(config).glob("*.html"))
    lines = [table, f"champion: {named}", *(f"report:   {page}" for page in pages)]
    return Result(data={"steps": data, "champion": champion, "report": pages}, text="\n".join(lines))


def status(config: Config) -> Result:
    """Say which steps are up to date, and why the others would run.

    Example: tracer status --profile demo
    """
    from tracer import flow

    found = flow.status(config)
    lines = {}
    for name, (state, reasons) in found.items():
        more = f" (and {len(reasons) - 1} more: {config.command(f'why {name}')})" if len(reasons) > 1 else ""
        lines[name] = f"{state}: {reasons[0]}{more}" if reasons else state
    data = {name: {"state": state, "reasons": reasons} for name, (state, reasons) in found.items()}
    return Result(data=data, text=aligned(lines))


def why(config: Config, step: Annotated[str, typer.Argument(help="Such as stage1 or evaluate-base.")]) -> Result:
    """Say why a step would run again: what differs, old value and new.

    Example: tracer why stage1 --set stage1.steps=300
    """
    from tracer import flow

    state, reasons = flow.step(step).state(config)
    text = "\n  ".join([f"{step}: {state}", *reasons])
    return Result(data={"step": step, "state": state, "reasons": reasons}, text=text)


def forecast(
    config: Config,
    model: Annotated[str, Planner] = MODELS[-1],
    trajectory: Trajectory = None,
    step: Step = 0,
    image: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A screenshot of your own, whose text is read by OCR."),
    ] = None,
    goal: Annotated[str, typer.Option(help="With --image: what is to be reached on it.")] = "",
    draw: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw the forecast on the screenshot, into this PNG.")
    ] = None,
) -> Result:
    """Forecast from a held-out state, beside what was really done, or from a screenshot of your own.

    Example: tracer forecast tracer-planner@champion --draw forecast.png
    """
    from tracer import flow, planner
    from tracer.evaluation.scoring import correct
    from tracer.reporting import explain, overlay
    from tracer.tools import screen

    if (image is None) != (not goal.strip()) or (image is not None and (trajectory is not None or step)):
        raise ConfigError("--image and --goal go together, and without --trajectory and --step")
    folder, horizon = flow.trained(config, model), config.planner.horizon
    if image is None:
        flow.step("ingest").run(config)
        example = explain.example(config.out("ingest"), trajectory, step, horizon)
        state, expected, shown = example.state, example.reference, example.trajectory
    else:
        state, expected, shown, step = screen.state_of(image.read_bytes(), goal, str(image)), (), str(image), 0
    plan = planner.load(folder).forecast([state], horizon)[0]
    steps = plan.forecast or ()
    made, done = ([each.instruction for each in listed] for listed in (steps, expected))
    data = {"trajectory": shown, "step": step, "error": plan.error, "forecast": made, "done": done}
    lines = [f"{shown}, step {step}", f"goal: {state.goal}", "", "forecast:", *_numbered(made)]
    lines += [f"  (unparsable: {plan.error})"] if plan.forecast is None else []
    lines += ["", "really done:", *_numbered(done)] if expected else []
    if draw:
        right = correct(steps, expected, config.reward, config.grounding.radius)
        draw.parent.mkdir(parents=True, exist_ok=True)
        write_whole(draw, overlay.paint(state, steps, expected, right, plan.error))
        lines += ["", f"drawn: {draw}"]
    return Result(data=data, text="\n".join(lines))


def _numbered(lines: list[str]) -> list[str]:
    return [f"  {number}. {line}" for number, line in enumerate(lines, start=1)]


def reward(
    config: Config,
    predicted: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="One JSON object per line, in the grammar `literal`.")
    ],
    reference: Annotated[Path, typer.Option(exists=True, help="The same, or a folder of trajectories.")],
    trajectory: Trajectory = None,
    step: Step = 0,
) -> Result:
    """Explain what a forecast earns, term by term. Exit code 1 for a forecast of which nothing parses.

    Example: tracer reward --predicted forecast.jsonl --reference done.jsonl
    """
    from tracer.reporting.explain import explain_files

    earned, text = explain_files(predicted, reference, config, trajectory, step)
    return Result(data=earned, text=text, ok=bool(earned.steps))


def schema(name: Format) -> Result:
    """Print the JSON schema of a file format.

    Example: tracer schema episode > episode.schema.json
    """
    from tracer import schema as schemas

    return Result(data=schemas.schema(name))


def dvc_yaml(config: Config) -> Result:
    """Print dvc.yaml, which is generated from the steps; the data is where the profile has it.

    Example: tracer dvc-yaml > dvc.yaml
    """
    from tracer import dvc_yaml as written

    return Result(data={"dvc.yaml": written.dvc_yaml(config)}, text=written.dvc_yaml(config))


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Bring back what is absent; change nothing else.")] = False,
) -> Result:
    """Check this machine and this installation. Exit code 1 if something needs fixing.

    Example: tracer doctor --fix
    """
    from tracer import doctor as examined

    findings = examined.doctor()
    ran = list(examined.fix(findings)) if fix else []
    found = examination(examined.doctor() if ran else findings)
    return replace(found, text="\n".join([*ran, str(found.text)]))


def metrics(
    config: Config,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write this file, in the folder of node_exporter's textfiles.")
    ] = None,
    every: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Write it again and again, until Ctrl-C.")
    ] = None,
    queue: Annotated[bool, typer.Option(help="Of runs, batches and the champion, too.")] = True,
) -> Result | None:
    """Print the metrics of training and of the queue in Prometheus's format.

    Example: tracer metrics --out /var/lib/node_exporter/tracer.prom --every 15
    """
    from pipelines import metrics as exported

    if out is None:
        if every is not None:
            raise ConfigError("--every needs --out: which file is written again and again")
        content = exported.text(config, queue)
        return Result(data=content.splitlines(), text=content)
    if not out.parent.is_dir():
        raise ConfigError(f"--out: the folder {out.parent} does not exist; make it, or name node_exporter's")
    write_whole(out, exported.text(config, queue))
    with suppress(KeyboardInterrupt):
        while every is not None:
            time.sleep(every)
            write_whole(out, exported.text(config, queue))
    return None


dvc_yaml.__name__ = "dvc-yaml"
COMMANDS = (run, demo, status, why, forecast, reward, schema, dvc_yaml, doctor, metrics)
