"""A registry on a server, copied into a local one: read through MLflow's interface, kept under the same names.

What tracer wrote there is copied: its experiments with their runs, models and traces, the registered model and the
promotion record. Ids and version numbers stay, because versions, tags and decisions name each other by them, and
MLflow's interface would give out new ones: the rows are written into a database that MLflow made. Traces go through
that interface, which keeps their ids.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tracer.registry import places, record, tracking
from tracer.registry.settings import RegistryConfig

WORKSPACE = "default"
Row = tuple[str, dict[str, Any]]
"""A table of MLflow's, and values by column."""


def copy(config: RegistryConfig, database: Path) -> None:
    """Copy a registry into a new SQLite database, its files beside it. Raises ``RegistryError``, MLflow's errors too.

    What is registered is read first: the runs and models that it names are there by then, and stay.
    """
    import mlflow

    client = tracking.connect(config)
    registered = list(_registered(client, (config.model, record.name_of(config))))
    names = (config.experiment, tracking.decisions(config), f"{config.experiment}-data")
    experiments = [found for name in names if (found := client.get_experiment_by_name(name)) is not None]
    moved: dict[str, str] = {}
    rows: list[Row] = []
    for each in experiments:
        home = places.location(database, each.name)
        rows += _experiment(each, home)
        for run in mlflow.search_runs([each.experiment_id], output_format="list", max_results=tracking.MOST):
            place = moved[run.info.artifact_uri] = f"{home}/{run.info.run_id}/artifacts"
            rows += _run(client, run, place)
            _download(run.info.artifact_uri, place)
        for model in tracking.logged_models(client, each.experiment_id):
            place = moved[model.artifact_location] = f"{home}/models/{model.model_id}/artifacts"
            rows += _model(model, place)
            _download(model.artifact_location, place)
    for _, values in registered:
        for column in ("source", "storage_location"):
            values |= {column: moved.get(values[column], values[column])} if column in values else {}
    mlflow.MlflowClient(f"sqlite:///{database}").search_experiments()  # which makes the tables
    _write(database, [*rows, *registered])
    for each in experiments:
        _traces(client, each.experiment_id, f"sqlite:///{database}")


def _write(database: Path, rows: Iterable[Row]) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, values in rows:
            columns, marks = ", ".join(values), ", ".join("?" * len(values))
            # A data set is that of many runs.
            connection.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", list(values.values()))


def _traces(client: Any, experiment_id: str, uri: str) -> None:
    """Copy the traces of an experiment that is there already."""
    from mlflow.tracing.client import TracingClient
    from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION

    local = TracingClient(uri)
    for trace in tracking.paged(lambda token: client.search_traces(locations=[experiment_id], page_token=token)):
        trace.info.tags.pop(MLFLOW_ARTIFACT_LOCATION, None)  # it follows from the experiment's place
        local.start_trace(trace.info)
        local.log_spans(experiment_id, trace.data.spans)


def _download(address: str, place: str) -> None:
    """Bring the files at an artifact address into the folder that a place names."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    folder = Path(place.removeprefix("file://"))
    folder.mkdir(parents=True)
    get_artifact_repository(address).download_artifacts("", str(folder))


def _experiment(found: Any, home: str) -> Iterator[Row]:
    number = int(found.experiment_id)
    yield "experiments", {
        "experiment_id": number, "name": found.name, "workspace": WORKSPACE, "artifact_location": home,
        "lifecycle_stage": found.lifecycle_stage, "creation_time": found.creation_time,
        "last_update_time": found.last_update_time,
    }  # fmt: skip
    yield from _pairs("experiment_tags", {"experiment_id": number}, found.tags)


def _pairs(table: str, owner: Mapping[str, Any], found: Mapping[str, Any] | None, prefix: str = "") -> Iterator[Row]:
    """A row for each name and value that something has, such as its tags."""
    yield from ((table, {**owner, f"{prefix}key": key, f"{prefix}value": each}) for key, each in (found or {}).items())


def _run(client: Any, run: Any, place: str) -> Iterator[Row]:
    info, owner = run.info, {"run_uuid": run.info.run_id}
    yield "runs", {
        **owner, "name": info.run_name, "source_type": "LOCAL", "source_name": "", "entry_point_name": "",
        "user_id": info.user_id, "status": info.status, "start_time": info.start_time, "end_time": info.end_time,
        "source_version": "", "lifecycle_stage": info.lifecycle_stage, "artifact_uri": place,
        "experiment_id": int(info.experiment_id),
    }  # fmt: skip
    yield from _pairs("tags", owner, run.data.tags)
    yield from _pairs("params", owner, run.data.params)
    for key in run.data.metrics:
        history = client.get_metric_history(info.run_id, key)
        last = max(history, key=lambda metric: (metric.step, metric.timestamp, metric.value))
        for table, found in (("metrics", history), ("latest_metrics", [last])):
            for metric in found:
                unknown = metric.value != metric.value
                value = 0.0 if unknown else metric.value
                yield table, {**owner, "key": key, "value": value, "timestamp": metric.timestamp, "step": metric.step,
                              "is_nan": unknown}  # fmt: skip
    for read in run.inputs.dataset_inputs if run.inputs else ():
        yield from _dataset(read, info)
    for model in run.outputs.model_outputs if run.outputs else ():
        yield "inputs", {
            "input_uuid": uuid.uuid4().hex, "source_type": "RUN_OUTPUT", "source_id": info.run_id,
            "destination_type": "MODEL_OUTPUT", "destination_id": model.model_id, "step": model.step,
        }  # fmt: skip


def _dataset(read: Any, info: Any) -> Iterator[Row]:
    data = read.dataset
    named, used = (str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(of))) for of in (
        [info.experiment_id, data.name, data.digest], [info.run_id, data.name, data.digest]))  # fmt: skip
    yield "datasets", {
        "dataset_uuid": named, "experiment_id": int(info.experiment_id), "name": data.name, "digest": data.digest,
        "dataset_source_type": data.source_type, "dataset_source": data.source, "dataset_schema": data.schema,
        "dataset_profile": data.profile,
    }  # fmt: skip
    yield "inputs", {"input_uuid": used, "source_type": "DATASET", "source_id": named, "destination_type": "RUN",
                     "destination_id": info.run_id, "step": 0}  # fmt: skip
    for tag in read.tags:
        yield "input_tags", {"input_uuid": used, "name": tag.key, "value": tag.value}


def _model(model: Any, place: str) -> Iterator[Row]:
    owner = {"model_id": model.model_id, "experiment_id": int(model.experiment_id)}
    yield "logged_models", {
        **owner, "name": model.name, "artifact_location": place, "creation_timestamp_ms": model.creation_timestamp,
        "last_updated_timestamp_ms": model.last_updated_timestamp, "status": model.status.to_int(),
        "lifecycle_stage": "active", "model_type": model.model_type, "source_run_id": model.source_run_id,
        "status_message": model.status_message,
    }  # fmt: skip
    yield from _pairs("logged_model_tags", owner, model.tags, "tag_")
    yield from _pairs("logged_model_params", owner, model.params, "param_")
    for metric in model.metrics or ():
        yield "logged_model_metrics", {
            **owner, "metric_name": metric.key, "metric_timestamp_ms": metric.timestamp, "metric_step": metric.step,
            "metric_value": metric.value, "run_id": metric.run_id, "dataset_name": metric.dataset_name,
            "dataset_digest": metric.dataset_digest,
        }  # fmt: skip


def _registered(client: Any, names: Iterable[str]) -> Iterator[Row]:
    import mlflow

    for name in names:
        # With their aliases before the versions: a version that came meanwhile has none of them.
        for model in client.search_registered_models(filter_string=f"name = '{name}'"):
            owner = {"workspace": WORKSPACE, "name": name}
            yield "registered_models", {
                **owner, "creation_time": model.creation_timestamp, "last_updated_time": model.last_updated_timestamp,
                "description": model.description,
            }  # fmt: skip
            yield from _pairs("registered_model_tags", owner, model.tags)
            for alias, number in model.aliases.items():
                yield "registered_model_aliases", {**owner, "alias": alias, "version": int(number)}
            for version in mlflow.search_model_versions(filter_string=f"name = '{name}'"):
                numbered = {**owner, "version": int(version.version)}
                yield "model_versions", {
                    **numbered, "creation_time": version.creation_timestamp,
                    "last_updated_time": version.last_updated_timestamp, "description": version.description,
                    "user_id": version.user_id, "current_stage": version.current_stage, "source": version.source,
                    "storage_location": _location(client, version), "run_id": version.run_id, "status": version.status,
                    "status_message": version.status_message,
                }  # fmt: skip
                yield from _pairs("model_version_tags", numbered, version.tags)


def _location(client: Any, version: Any) -> str:
    """Where a version's files are: its model's place, or for a decision its run's."""
    if version.model_id:
        return str(client.get_logged_model(version.model_id).artifact_location)
    return str(version.source)
