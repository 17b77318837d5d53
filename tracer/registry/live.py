"""What people watch in MLflow while a stage trains: its run, below one run for all stages on the same data.

The metrics come through transformers' callback, the rollouts from tracer/training/samples.py: both go to the run that
is active. When the step is finished and registered, it becomes a run of the experiment beside this one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.json_files import read_json
from tracer.lineage.digest import STARTED, digest_of
from tracer.registry import links, step_runs, tracking
from tracer.training import processes
from tracer.training.stage import Stage, Training

ABOUT = """**{title}** of profile `{profile}`, seed {seed}: {about}.

- *Model metrics*: `reward` and `rewards/*` by part, `dead_groups`, `unparsable`, `entropy`, `loss`, `tokens_per_second`
- *Artifacts*, `rollouts/`: what the planner was asked and answered at step 0, 10, 20, ..., and what each answer earned
- *System metrics*: processor, memory and GPU"""


def watched(config: Config, stage: Stage, training: Training) -> Training:
    """The training with a run that is active meanwhile, if ``launch.report_to`` names MLflow.

    A stage that was killed goes on in the run that it had; those of other killed stages are ended.
    """
    if "mlflow" not in config.launch.report_to or not processes.main():
        return training
    return partial(_train, config, stage, training)


def _train(config: Config, stage: Stage, training: Training, out: Path) -> Mapping[str, Any]:
    client = tracking.connect(config.registry)
    import mlflow

    for dead in tracking.killed(client, config.registry):
        client.set_terminated(dead.info.run_id, "KILLED")
    made = read_json(out / STARTED)
    where = tracking.experiment(client, config.registry, tracking.live(config.registry))
    title = f"{config.profile} seed{config.seed}"
    parent = _chain(client, config, where, title, made["inputs"]["trajectories"]["digest"])
    run = _newest(client, where, made["digest"], "attributes.status != 'FINISHED'")
    if run is None:
        tags = {tracking.DIGEST: made["digest"], "tracer.step": stage.name, "mlflow.parentRunId": parent}
        run = client.create_run(where, run_name=f"{out.name} {title}", tags=tags)
        client.log_batch(run.info.run_id, params=step_runs.parameters(config))
    for each in (parent, run.info.run_id):
        client.set_tag(each, tracking.WRITER, tracking.writer())
    os.environ["MLFLOW_MAX_LOG_PARAMS"] = "0"  # two hundred arguments of transformers would hide our settings
    about = ABOUT.format(title=stage.title, profile=config.profile, seed=config.seed, about=stage.about)
    status = "FAILED"
    try:
        with mlflow.start_run(run.info.run_id, nested=True, description=about, log_system_metrics=True):
            metrics = training(out)
        for name, value in metrics.items():
            if isinstance(value, int | float):
                client.log_metric(parent, f"{stage.name}/{name}", value)
        status = "FINISHED"
    finally:
        client.set_terminated(parent, status)
    return metrics


def page(config: Config, digest: str) -> str | None:
    """The address of the run in which a stage of that digest was watched; None if it was not."""
    client = tracking.connect(config.registry)
    found = client.get_experiment_by_name(tracking.live(config.registry))
    run = None if found is None else _newest(client, found.experiment_id, digest)
    return None if run is None else links.run_page(config.registry, run.info.experiment_id, run.info.run_id)


def _newest(client: Any, where: str, digest: str, *wanted: str) -> Any | None:
    query = " and ".join([f"tags.`{tracking.DIGEST}` = '{digest}'", *wanted])
    runs = client.search_runs([where], query, max_results=1, order_by=["attributes.start_time DESC"])
    return runs[0] if runs else None


def _chain(client: Any, config: Config, where: str, title: str, data: str) -> str:
    """The run, open again, that has the stages of a profile and seed on the same data below it."""
    digest = digest_of([config.profile, config.seed, data])
    run = _newest(client, where, digest)
    if run is None:
        about = f"The stages of profile `{config.profile}`, seed {config.seed}, on the trajectories `{data[:12]}`."
        tags = {tracking.DIGEST: digest, "mlflow.note.content": about}
        run = client.create_run(where, run_name=title, tags=tags)
    client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id)
