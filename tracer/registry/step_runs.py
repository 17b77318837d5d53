"""A finished step's folder as an MLflow run: parameters, metrics, files, the data it began with, and samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.config import Config
from tracer.json_files import flatten, read_json
from tracer.lineage.digest import digest_of, file_digest
from tracer.lineage.pins import pinned_md5, pointer_of
from tracer.lineage.step import read_lineage
from tracer.registry import tracking
from tracer.registry.spans import log_traces
from tracer.training.samples import table

MAX_SAMPLES = 32
MOST_FIGURES = 12
"""Figures of the description; all of them are metrics."""
ARTIFACTS = ("lineage.json", "results.jsonl", "scores.json", "metrics.jsonl", "validation.json", "gate.json")
LONGEST_PARAMETER = 6000
FILES = "tracer.files"
"""The digest of a run's artifacts that are files of the step's folder."""


def log_step(client: Any, config: Config, folder: Path, model_id: str | None = None) -> str:
    """Log a step's folder as a run, unless it is there already; return the run's id.

    Parameters are the flattened configuration; metrics the step's headline metrics, its scores, and the history of
    ``metrics.jsonl``; the dataset carries the DVC md5; ``samples/*.jsonl`` become a table with its screenshots; traced
    episodes become traces.
    """
    from mlflow.entities import Metric
    from mlflow.utils.time import get_current_time_millis

    lineage = read_lineage(folder)
    experiment_id = tracking.experiment(client, config.registry, config.registry.experiment)
    found = tracking.find_run(client, experiment_id, lineage["digest"])
    if found is not None:
        return str(found.info.run_id)
    run = client.create_run(
        experiment_id,
        run_name=f"{folder.name} {config.profile} seed{config.seed}",
        tags={
            tracking.DIGEST: lineage["digest"],
            tracking.WRITER: tracking.writer(),
            FILES: files_digest(folder),
            "tracer.output": lineage["output"],
            "tracer.step": lineage["step"],
            "tracer.profile": config.profile,
            "tracer.seed": str(config.seed),
            "mlflow.note.content": described(config, lineage),
            "mlflow.source.git.commit": (lineage["git"] or {}).get("commit") or "unknown",
        },
    )
    run_id = run.info.run_id
    now = get_current_time_millis()
    history = [Metric(key, value, now, step, model_id=model_id) for step, key, value in metrics(folder, lineage)]
    client.log_batch(run_id, metrics=history, params=parameters(config))
    log_dataset(client, config, run_id, lineage)
    for name in ARTIFACTS:
        if (folder / name).is_file():
            client.log_artifact(run_id, str(folder / name))
    log_samples(client, run_id, folder)
    log_traces(experiment_id, run_id, folder, {tracking.DIGEST: lineage["digest"], "planner": folder.name})
    client.set_terminated(run_id)
    return str(run_id)


def parameters(config: Config) -> list[Any]:
    """The flattened configuration as parameters of a run."""
    from mlflow.entities import Param

    settings = flatten(config.model_dump(mode="json"))
    return [Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in settings.items()]


def described(config: Config, lineage: Mapping[str, Any], start: str = "") -> str:
    """What a step made from what, and its headline metrics, as the Markdown that MLflow shows on a page."""
    made = ", ".join(f"{name} (`{source['digest'][:12]}`)" for name, source in lineage["inputs"].items())
    commit = ((lineage["git"] or {}).get("commit") or "unknown")[:12]
    started = f" Training started from {start}." if start else ""
    figures = "".join(f"\n| {name} | {value:.4g} |" for name, value in _headline(lineage["metrics"]).items())
    return (
        f"**{lineage['step']}** of profile `{config.profile}`, seed {config.seed}, made from {made} "
        f"in {lineage['seconds']:.0f} s; data {config.data.path}, commit `{commit}`.{started}"
        + (f"\n\n| metric | value |\n|---|---|{figures}" if figures else "")
    )


def _headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return dict(list(numbers.items())[:MOST_FIGURES])


def files_digest(folder: Path) -> str:
    """The digest of those files of a step's folder, or of a run's artifacts, that are logged."""
    return digest_of({name: file_digest(folder / name) for name in ARTIFACTS if (folder / name).is_file()})


def metrics(folder: Path, lineage: Mapping[str, Any]) -> list[tuple[int, str, float]]:
    """(step, name, value): the headline metrics and scores at step 0, and the history of ``metrics.jsonl``."""
    found: dict[tuple[int, str], float] = {}
    scores = folder / "scores.json"
    sources = [(0, lineage["metrics"])] + ([(0, read_json(scores))] if scores.is_file() else [])
    history = folder / "metrics.jsonl"
    if history.is_file():
        rows = json_lines.read(history)
        sources += [(int(row.get("step", index)), row) for index, row in enumerate(rows)]
    for step, values in sources:
        for key, value in flatten(values).items():
            # scores.json breaks every metric down by task: thousands of numbers, for which there is the artifact.
            wanted = key != "step" and ".tasks." not in key and not key.startswith(("protocol.", "remaining."))
            if wanted and isinstance(value, int | float) and not isinstance(value, bool):
                found[step, tracking.metric_name(key)] = float(value)
    return [(step, key, value) for (step, key), value in found.items()]


def log_dataset(client: Any, config: Config, run_id: str, lineage: Mapping[str, Any]) -> None:
    """The data the step's chain began with: the pinned folder, its md5 as the digest. MLflow shows 36 characters."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = data_digest(config) or next(iter(lineage["inputs"].values()))["digest"]
    dataset = Dataset(
        name=config.data.path,
        digest=digest[:36],
        source_type="dvc" if config.data.pointer else "local",
        source=json.dumps({"path": config.data.path, "pointer": config.data.pointer}),
        profile=json.dumps({"inputs": lineage["inputs"]}),
    )
    context = InputTag(
        "mlflow.data.context", "evaluation" if lineage["step"].startswith(("eval", "online")) else "training"
    )
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [context])])


def data_digest(config: Config) -> str | None:
    """The md5 that the data's DVC pointer pins; None for data that DVC does not track.

    Raises ``LineageError`` for a pointer that is not there, unless a mixture takes the place of what it pins.
    """
    if config.mixture.sources and not Path(config.data.pointer).is_file():
        return None
    pointer = pointer_of(config.data.pointer)
    return None if pointer is None else pinned_md5(pointer)


def log_samples(client: Any, run_id: str, folder: Path) -> None:
    """The rollouts of ``samples/*.jsonl`` as a table, screenshots included, spread evenly where there are many."""
    files = sorted((folder / "samples").glob("*.jsonl"))
    rows = [row for path in files for row in json_lines.iterate(path)]
    rows = rows[:: max(1, -(-len(rows) // MAX_SAMPLES))]
    if not rows:
        return
    client.log_table(run_id, data=table(folder / "samples", rows), artifact_file="samples.json")
