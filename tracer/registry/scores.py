"""Scores in MLflow: a run per score, its figures logged against the model that earned them."""

from __future__ import annotations

from pathlib import Path

from tracer.config import Config
from tracer.registry import step_runs, tracking, versions


def log_score(config: Config, folder: Path, model: str | None = None) -> str:
    """Log a finished score's folder as a run, once; return the run's id.

    ``model`` is a registered model (``tracer-planner@challenger``): the metrics then carry its ``model_id`` and stand
    on its page. Raises what ``tracer.registry.versions`` raises where there is no such model.
    """
    client = tracking.connect(config.registry)
    model_id = None
    if model is not None:
        version = versions.version_of(model, config.registry)
        model_id = client.get_model_version(version.name, str(version.version)).model_id
    return step_runs.log_step(client, config, folder, model_id)
