"""The whole chain, and what one looks at: run, demo, reward, doctor, forecast."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tracer import flow
from tracer.cli.common import PLANNERS, command, config_of
from tracer.flow import model
from tracer.lineage.digest import LineageError
from tracer.stages import MODELS


def add(commands: Any) -> None:
    status = command(commands, "status", "which steps are up to date, and why the others would run", _status)
    status.add_argument("--json", action="store_true", help="print JSON")
    why = command(commands, "why", "why a step would run again: what differs, old value and new", _why)
    why.add_argument("step", help="a step of the flow, such as stage1 or evaluate-base")
    why.add_argument("--json", action="store_true", help="print JSON")
    command(commands, "run", "the whole chain, one step after the other, without Dagster", _run)
    command(commands, "demo", "the whole chain through Dagster, then the results table", _demo)
    reward = command(commands, "reward", "why a forecast earns what it earns, term by term", _reward)
    reward.add_argument("--predicted", type=Path, required=True, help="one JSON object a line (the literal grammar)")
    reward.add_argument("--reference", type=Path, required=True, help="the same, or a folder of trajectories")
    reward.add_argument("--trajectory", help="which one of the folder")
    reward.add_argument("--step", type=int, default=0, help="from which of its steps on, from 0")
    schema = command(commands, "schema", "print the JSON schema of a file format", _schema, profile=False)
    schema.add_argument("name", help="episode, or a benchmark")
    command(commands, "dvc-yaml", "print dvc.yaml, which is generated from the steps", _dvc_yaml, profile=False)
    command(commands, "doctor", "check this machine and installation", _doctor, profile=False)
    forecast = command(commands, "forecast", "forecast from a held-out state, beside what was really done", _forecast)
    forecast.add_argument("model", nargs="?", default=MODELS[-1], help=PLANNERS)
    forecast.add_argument("--trajectory", help="a trajectory id (default: the first held-out one)")
    forecast.add_argument("--step", type=int, default=0, help="from which of its steps on, from 0")
    forecast.add_argument("--draw", type=Path, help="write the forecast drawn on the screenshot to this PNG")


def _schema(arguments: argparse.Namespace) -> int:
    from tracer.schema import schema

    print(json.dumps(schema(arguments.name), indent=2, ensure_ascii=False))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    found = flow.status(config_of(arguments))
    if arguments.json:
        print(json.dumps({name: {"state": state, "reasons": reasons} for name, (state, reasons) in found.items()}))
        return 0
    width = max(map(len, found))
    for name, (state, reasons) in found.items():
        more = f" (and {len(reasons) - 1} more: tracer why {name})" if len(reasons) > 1 else ""
        print(f"{name:{width}}  {state}{f': {reasons[0]}{more}' if reasons else ''}")
    return 0


def _why(arguments: argparse.Namespace) -> int:
    state, reasons = flow.step(arguments.step).state(config_of(arguments))
    if arguments.json:
        print(json.dumps({"step": arguments.step, "state": state, "reasons": reasons}))
    else:
        print(f"{arguments.step}: {state}", *reasons, sep="\n  ")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from tracer import flow
    from tracer.reporting.tables import results_table

    config = config_of(arguments)
    flow.run(config)
    print(results_table(flow.report_folders(config)))
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from pipelines.demo import demo

    return demo(config_of(arguments))


def _reward(arguments: argparse.Namespace) -> int:
    from tracer.reporting.explain import explain_files

    config = config_of(arguments)
    print(explain_files(arguments.predicted, arguments.reference, config, arguments.trajectory, arguments.step), end="")
    return 0


def _dvc_yaml(arguments: argparse.Namespace) -> int:
    from tracer.dvc_yaml import dvc_yaml

    print(dvc_yaml(), end="")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from tracer.doctor import doctor

    findings = doctor()
    for finding in findings:
        print(
            f"{'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}"
            + ("" if finding.ok else f"\n     -> {finding.mend}")
        )
    return 0 if all(finding.ok for finding in findings) else 1


def _forecast(arguments: argparse.Namespace) -> int:
    from tracer import planner
    from tracer.dataset import read
    from tracer.forecast import reference
    from tracer.trajectory import state_at

    config = config_of(arguments)
    for trajectory in read(config.out("ingest"), split=None if arguments.trajectory else "heldout"):
        if arguments.trajectory in (None, trajectory.id):
            break
    else:
        raise LineageError(f"{config.out('ingest')} has no trajectory {arguments.trajectory!r}")
    if not 0 <= arguments.step < len(trajectory.steps):
        raise LineageError(f"{trajectory.id} has {len(trajectory.steps)} steps; --step counts from 0")
    state = state_at(trajectory, arguments.step)
    plan = planner.load(model(config, arguments.model)).forecast([state], config.planner.horizon)[0]
    expected = reference(trajectory, arguments.step, config.planner.horizon)
    print(f"{trajectory.id}, step {arguments.step}\ngoal: {state.goal}\n\nforecast:")
    for number, step in enumerate(plan.forecast or (), start=1):
        print(f"  {number}. {step.instruction}")
    print(f"  (unparsable: {plan.error})" if plan.forecast is None else "", "\nreally done:", sep="")
    for number, step in enumerate(expected, start=1):
        print(f"  {number}. {step.instruction}")
    if arguments.draw:
        from tracer.reporting.overlay import draw

        arguments.draw.write_bytes(draw(state, plan.forecast or (), expected))
        print(f"\ndrawn: {arguments.draw}")
    return 0
