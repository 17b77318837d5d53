"""Run everything, and look at it: run, demo, status, why, reward, forecast, schema, dvc-yaml, doctor."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tracer import flow
from tracer.cli.common import PLANNERS, Result, aligned, command
from tracer.config import Config
from tracer.lineage.digest import LineageError
from tracer.stages import MODELS

Step = Annotated[int, typer.Option(min=0, help="From which of its steps on, counted from 0.")]


def add(app: typer.Typer) -> None:
    """Register the commands."""
    for function in (run, demo, status, why, forecast, reward, schema, dvc_yaml, doctor):
        command(app, function.__name__.replace("_", "-"))(function)


def run(config: Config) -> Result:
    """Run the whole pipeline, one step after the other, without Dagster.

    Example: tracer run --profile demo
    """
    from tracer.reporting.tables import results_table

    done = flow.run(config)
    data = {name: {"output": each["output"], "metrics": each["metrics"]} for name, each in done.items()}
    return Result(data=data, text=results_table(flow.report_folders(config)))


def demo(config: Config) -> None:
    """Run the whole pipeline through Dagster, then print the table of results.

    Example: tracer demo
    """
    from pipelines.demo import demo

    raise typer.Exit(demo(config))


def status(config: Config) -> Result:
    """Say which steps are up to date, and why the others would run.

    Example: tracer status --profile demo
    """
    found = flow.status(config)
    lines = {}
    for name, (state, reasons) in found.items():
        more = f" (and {len(reasons) - 1} more: tracer why {name})" if len(reasons) > 1 else ""
        lines[name] = f"{state}: {reasons[0]}{more}" if reasons else state
    data = {name: {"state": state, "reasons": reasons} for name, (state, reasons) in found.items()}
    return Result(data=data, text=aligned(lines))


def why(config: Config, step: Annotated[str, typer.Argument(help="Such as stage1 or evaluate-base.")]) -> Result:
    """Say why a step would run again: what differs, old value and new.

    Example: tracer why stage1 --set stage1.steps=300
    """
    state, reasons = flow.step(step).state(config)
    text = "\n  ".join([f"{step}: {state}", *reasons])
    return Result(data={"step": step, "state": state, "reasons": reasons}, text=text)


def forecast(
    config: Config,
    model: Annotated[str, typer.Argument(help=f"The planner: {PLANNERS}.")] = MODELS[-1],
    trajectory: Annotated[
        str | None, typer.Option(help="A trajectory's id; by default the first held-out one.")
    ] = None,
    step: Step = 0,
    draw: Annotated[Path | None, typer.Option(help="Draw the forecast on the screenshot, into this PNG.")] = None,
) -> Result:
    """Forecast from a held-out state, beside what was really done.

    Example: tracer forecast tracer-planner@champion --draw forecast.png
    """
    from tracer import planner
    from tracer.dataset import read
    from tracer.evaluation.scoring import correct
    from tracer.examples import examples
    from tracer.reporting import overlay

    flow.step("ingest").run(config)
    data = config.out("ingest")
    found = (each for each in read(data, split=None if trajectory else "heldout") if trajectory in (None, each.id))
    chosen = next(found, None)
    if chosen is None:
        raise LineageError(f"{data} has no trajectory {trajectory!r}")
    if step >= len(chosen.steps):
        raise LineageError(f"{chosen.id} has {len(chosen.steps)} steps; --step counts from 0")
    horizon = config.planner.horizon
    example = list(examples([chosen], horizon))[step]
    state, expected = example.state, example.reference
    plan = planner.load(flow.model(config, model)).forecast([state], horizon)[0]
    steps = plan.forecast or ()
    lines = [f"{chosen.id}, step {step}", f"goal: {state.goal}", "", "forecast:"]
    lines += [f"  {number}. {each.instruction}" for number, each in enumerate(steps, start=1)]
    lines += [f"  (unparsable: {plan.error})"] if plan.forecast is None else []
    lines += ["", "really done:", *(f"  {number}. {each.instruction}" for number, each in enumerate(expected, start=1))]
    if draw:
        right = correct(steps, expected, config.reward, config.grounding.radius)
        draw.write_bytes(overlay.paint(state, steps, expected, right))
        lines += ["", f"drawn: {draw}"]
    both = {"forecast": steps, "done": expected}
    instructions = {name: [each.instruction for each in listed] for name, listed in both.items()}
    printed = {"trajectory": chosen.id, "step": step, "error": plan.error, **instructions}
    return Result(data=printed, text="\n".join(lines))


def reward(
    config: Config,
    predicted: Annotated[Path, typer.Option(help="One JSON object per line, in the grammar `literal`.")],
    reference: Annotated[Path, typer.Option(help="The same, or a folder of trajectories.")],
    trajectory: Annotated[str | None, typer.Option(help="Which trajectory of the folder.")] = None,
    step: Step = 0,
) -> Result:
    """Explain what a forecast earns, term by term.

    Example: tracer reward --predicted forecast.jsonl --reference done.jsonl
    """
    from tracer.reporting.explain import explain_files

    text = explain_files(predicted, reference, config, trajectory, step)
    return Result(data={"explanation": text.splitlines()}, text=text)


def schema(name: Annotated[str, typer.Argument(help="episode, or a benchmark.")]) -> Result:
    """Print the JSON schema of a file format.

    Example: tracer schema episode > episode.schema.json
    """
    from tracer import schema as schemas

    return Result(data=schemas.schema(name))


def dvc_yaml() -> Result:
    """Print dvc.yaml, which is generated from the steps.

    Example: tracer dvc-yaml > dvc.yaml
    """
    from tracer import dvc_yaml as written

    return Result(data={"dvc.yaml": written.dvc_yaml()}, text=written.dvc_yaml())


def doctor() -> Result:
    """Check this machine and this installation. Exit code 1 if something needs fixing.

    Example: tracer doctor
    """
    from tracer import doctor as examined

    findings = examined.doctor()
    lines = []
    for finding in findings:
        lines.append(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}")
        lines += [] if finding.ok else [f"     -> {finding.fix}"]
    ok = all(finding.ok for finding in findings)
    return Result(data=[asdict(finding) for finding in findings], text="\n".join(lines), ok=ok)
