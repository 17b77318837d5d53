"""A verdict as a run in MLflow: how far each batch was from the champion's data, over time."""

from __future__ import annotations

from pathlib import Path

from tracer.batches.verdict import PICTURE, REPORT, Verdict
from tracer.config import Config
from tracer.registry import tracking


def log(config: Config, verdict: Verdict, folder: Path) -> str:
    """Log a verdict with the report and the picture in ``folder``; the run's id."""
    client = tracking.connect(config.registry)
    experiment = tracking.experiment(client, config.registry, f"{config.registry.experiment}-data")
    tags = {"tracer.batch": verdict.batch, "tracer.accepted": str(verdict.accepted), "tracer.source": verdict.source}
    run_id = str(client.create_run(experiment, run_name=f"batch {verdict.batch}", tags=tags).info.run_id)
    for shift in verdict.shifts:
        client.log_metric(run_id, f"drift/{shift.name}", shift.distance)
    for split, count in verdict.splits.items():
        client.log_metric(run_id, f"episodes/{split}", count)
    client.log_metric(run_id, "left_out", len(verdict.left_out))
    for path in (folder / name for name in (REPORT, PICTURE) if (folder / name).is_file()):
        client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    return run_id
