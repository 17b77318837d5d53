"""The flow: every step, what it reads, and the one function that runs it.

    sources -> trajectories -> validated -> base planner -> stage 1 -> stage 2
            -> benchmarks -> report -> challenger -> champion

The command line, dvc.yaml and pipelines/ are three fronts of this list; tests/unit/test_graphs.py holds them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.planner import hub

STAGES = ("stage1", "stage2")
MODELS = ("base", *STAGES)
BEFORE = {"stage1": "base", "stage2": "stage1"}  # what a stage starts from


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStep:
    """One step: its name is also its output folder's; ``reads`` are the steps whose folders it takes."""

    name: str
    reads: tuple[str, ...]
    run: Callable[[Config, Path], dict[str, Any]]


def model(config: Config, name: str) -> Path:
    """The folder of the planner ``base``, ``stage1`` or ``stage2``; any other name is a path, or a registered model."""
    if name == "base":
        return hub.folder(config)
    return config.out(name) if name in STAGES else Path(name)


def evaluations(config: Config) -> dict[str, Path]:
    """The folders of every evaluation, by step name."""
    return {f"{kind}-{name}": config.out(f"{kind}-{name}") for kind in ("evaluate", "online") for name in MODELS}


def registered(config: Config) -> dict[str, Path]:
    """The evaluations that are registered with the planner of stage 2."""
    folders = {"evaluate": "evaluate-stage2", "online": "online-stage2", "validate": "validate", "gate": "gate-stage2"}
    return {name: config.out(step) for name, step in folders.items()}


def incumbent(config: Config) -> dict[str, Path]:
    """The base planner's evaluations, which the first champion has to beat."""
    return {"evaluate": config.out("evaluate-base"), "online": config.out("online-base")}


def report_folders(config: Config) -> dict[str, Path]:
    """Every folder that the report shows, by step name."""
    steps = {"trajectories": "ingest", "validate": "validate", **{stage: stage for stage in STAGES}}
    return {**{name: config.out(step) for name, step in steps.items()}, **evaluations(config)}


def steps(config: Config) -> list[FlowStep]:
    """The steps up to the report, in an order in which they can run."""
    ingested = config.out("ingest")
    listed = [
        FlowStep(name="ingest", reads=(), run=_ingest),
        FlowStep(name="validate", reads=("ingest",), run=_validate),
        FlowStep(name="stage1", reads=("ingest", "validate"), run=_stage("stage1")),
        FlowStep(name="gate-stage1", reads=("ingest", "stage1"), run=_gate("stage1")),
        FlowStep(name="stage2", reads=("ingest", "stage1", "gate-stage1"), run=_stage("stage2")),
        FlowStep(name="gate-stage2", reads=("ingest", "stage1", "stage2"), run=_gate("stage2")),
    ]
    for name in MODELS:
        reads = ("ingest", "validate") if name == "base" else ("ingest", name, f"gate-{name}")
        listed.append(FlowStep(name=f"evaluate-{name}", reads=reads, run=_offline(name, ingested)))
        played = () if name == "base" else (name, f"gate-{name}")
        listed.append(FlowStep(name=f"online-{name}", reads=played, run=_online(name)))
    shown = tuple(step.name for step in listed)
    listed.append(FlowStep(name="report", reads=shown, run=_report))
    return listed


def step(config: Config, name: str) -> FlowStep:
    """The step of that name."""
    return next(step for step in steps(config) if step.name == name)


def run(config: Config, say: Callable[[str], None] = print) -> Mapping[str, dict[str, Any]]:
    """Run every step in order; finished ones are found by their digest. Returns each step's lineage."""
    done: dict[str, dict[str, Any]] = {}
    for step in steps(config):
        done[step.name] = step.run(config, config.out(step.name))
        say(f"{step.name}: {done[step.name]['digest'][:12]}, {done[step.name]['seconds']} s")
    return done


def _ingest(config: Config, out: Path) -> dict[str, Any]:
    from tracer.ingestion.ingest import ingest

    return ingest(config, out)


def _validate(config: Config, out: Path) -> dict[str, Any]:
    from tracer.validation.validate import raise_on_failure, validate

    lineage = validate(config, config.out("ingest"), out)
    raise_on_failure(out)
    return lineage


def train(config: Config, stage: str, out: Path, start: Path | None = None) -> dict[str, Any]:
    """Train a stage from ``start``, or from what comes before it; on a machine with GPUs its data is checked first."""
    from tracer.training import preflight, processes, stage1, stage2

    data, start = config.out("ingest"), start or model(config, BEFORE[stage])
    if processes.main():
        preflight.before_gpus(config, stage, data, start, out)
    return {"stage1": stage1, "stage2": stage2}[stage].train(config, data, start, out)


def _stage(name: str) -> Callable[[Config, Path], dict[str, Any]]:
    return lambda config, out: train(config, name, out)


def _gate(stage: str) -> Callable[[Config, Path], dict[str, Any]]:
    def run(config: Config, out: Path) -> dict[str, Any]:
        from tracer.training import gates

        lineage = gates.gate(config, config.out(stage), model(config, BEFORE[stage]), config.out("ingest"), out)
        gates.require(out)
        return lineage

    return run


def _offline(name: str, ingested: Path) -> Callable[[Config, Path], dict[str, Any]]:
    def run(config: Config, out: Path) -> dict[str, Any]:
        from tracer.evaluation import offline

        return offline.evaluate(config, ingested, model(config, name), out)

    return run


def _online(name: str) -> Callable[[Config, Path], dict[str, Any]]:
    def run(config: Config, out: Path) -> dict[str, Any]:
        from tracer.evaluation import online

        return online.evaluate(config, model(config, name), out)

    return run


def _report(config: Config, out: Path) -> dict[str, Any]:
    from tracer.reporting.report import report

    return report(config, report_folders(config), out)
