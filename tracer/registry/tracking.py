"""The tracking server, and whose run is whose: a step has one, found again by the step's digest (``step_runs``).

A run is marked finished last. One that is not finished is being written, or was killed half-way: then it is deleted,
with the model it had begun to log, and written again; so a run is whole.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil

from tracer.registry import places
from tracer.registry.settings import RegistryConfig
from tracer.registry.spans import delete_traces
from tracer.settings import ConfigError

DIGEST = "tracer.digest"
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Lets MLflow open an experiment on its runs and charts; for one with traces it takes another page by itself."""
WRITER = "tracer.writer"
"""The process that writes a run: host, process id and when that started."""
LONGEST_WRITE = 3600.0
"""Seconds after which a run that another host began is taken for dead."""
TRIES = 20
MOST = 10_000
"""How many runs are asked for at once."""


class RegistryError(RuntimeError):
    """A record or version that is not whole, or that does not allow what was asked for; the message names the fix."""


class UnknownVersion(RegistryError, ConfigError):
    """A model, version or alias that is not there."""


def connect(config: RegistryConfig) -> Any:
    """The client of the tracking server, which is the default of MLflow's own functions from here on."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")  # a run that is finished is whole
    import mlflow

    database = places.database(config)
    if database is not None:
        places.follow(database)
    mlflow.set_tracking_uri(config.tracking_uri)
    mlflow.set_registry_uri(config.tracking_uri)
    return mlflow.MlflowClient()


def on_server(config: RegistryConfig) -> bool:
    """Whether the registry is an MLflow server's, and not a database."""
    return config.tracking_uri.startswith(("http://", "https://"))


def require_server(config: RegistryConfig, because: str) -> None:
    """Raise ``ConfigError`` unless the registry is an MLflow server's."""
    if not on_server(config):
        raise ConfigError(
            f"{because}, and registry.tracking_uri is {config.tracking_uri}: set MLFLOW_TRACKING_URI to a server's"
        )


def asked(config: RegistryConfig, path: str, method: str, **given: Any) -> Any:
    """What MLflow's server answers where its client has no function: an answer of ``requests``, also a refusal."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    return http_request(get_default_host_creds(config.tracking_uri), path, method, raise_on_status=False, **given)


def experiment(client: Any, config: RegistryConfig, name: str) -> str:
    """The id of the experiment of that name, which is made if it is not there."""

    def found() -> Any:
        there = client.get_experiment_by_name(name)
        if there is not None:
            return there.experiment_id
        database = places.database(config)
        location = None if database is None else places.location(database, name)  # a server knows where its files go
        return client.create_experiment(name, artifact_location=location, tags=KIND)

    return str(persistently(found))


def registered_model(client: Any, name: str, description: str) -> None:
    """Make a registered model unless it is there."""

    def found() -> None:
        if not client.search_registered_models(filter_string=f"name = '{name}'"):
            client.create_registered_model(name, description=description)

    persistently(found)


def alias(client: Any, model: str, name: str) -> int | None:
    """The version number that an alias points at, or None."""
    models = client.search_registered_models(filter_string=f"name = '{model}'")
    number = models[0].aliases.get(name) if models else None
    return None if number is None else int(number)


def mlflow_error() -> type[Exception]:
    """MLflow's own exception; importing it takes seconds."""
    from mlflow.exceptions import MlflowException

    return MlflowException


@contextmanager
def permitted(what: str) -> Iterator[None]:
    """Raises ``RegistryError`` where the server does not let the user do ``what``."""
    try:
        yield
    except mlflow_error() as error:
        if getattr(error, "error_code", "") != "PERMISSION_DENIED":
            raise
        said = str(error).splitlines()[0][:300]
        raise RegistryError(
            f"you may not {what}: {said}. Somebody with the role promoter may (SECURITY.md, `tracer grant`)"
        ) from error


def persistently(make: Callable[[], Any]) -> Any:
    """Call ``make`` until MLflow makes it: of many at once it gives up on some, and somebody else may be faster."""
    for _ in range(TRIES - 1):
        try:
            return make()
        except mlflow_error():
            time.sleep(random.uniform(0.05, 0.5))
    return make()


def writer(process: int | None = None) -> str:
    """A process of this host, by default this one, as a run names who writes it; raises ``psutil.NoSuchProcess``."""
    found = psutil.Process(process)
    return f"{socket.gethostname()}/{found.pid}/{found.create_time():.0f}"


def alive(name: str) -> bool | None:
    """Whether the process that ``writer`` named still runs; None for one of another host, which cannot be asked."""
    host, process, _ = name.rsplit("/", 2)
    if host != socket.gethostname():
        return None
    try:
        return writer(int(process)) == name and psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def being_written(run: Any) -> bool:
    """Whether another process, which began a run, may still be at it."""
    tag = run.data.tags.get(WRITER)
    if tag is None or tag == writer():
        return False  # begun by this process, and interrupted
    living = alive(tag)
    return bool(time.time() - run.info.start_time / 1000 < LONGEST_WRITE) if living is None else living


def find_run(client: Any, experiment_id: str, digest: str) -> Any | None:
    """The finished run of a digest, or None; those of killed processes are deleted."""
    finished = None
    for run in client.search_runs([experiment_id], filter_string=f"tags.`{DIGEST}` = '{digest}'"):
        if run.info.status == "FINISHED" and finished is None:
            finished = run
        elif run.info.status != "FINISHED" and not being_written(run):
            delete_models(client, experiment_id, run.info.run_id)
            delete_traces(client, experiment_id, run.info.run_id)
            client.delete_run(run.info.run_id)
    return finished


def abandoned(client: Any, config: RegistryConfig) -> list[Any]:
    """The runs of the steps and of the decisions that were begun, and that nobody writes any more."""
    names = (config.experiment, decisions(config))
    found = [each for name in names if (each := client.get_experiment_by_name(name)) is not None]
    unfinished = "attributes.status != 'FINISHED'"
    runs = client.search_runs([each.experiment_id for each in found], unfinished, max_results=MOST) if found else []
    return [run for run in runs if not being_written(run)]


def killed(client: Any, config: RegistryConfig) -> list[Any]:
    """The runs of stages that trained on this host, and whose process was killed (``tracer.registry.live``)."""
    found = client.get_experiment_by_name(live(config))
    running = "attributes.status = 'RUNNING'"
    runs = client.search_runs([found.experiment_id], running, max_results=MOST) if found else []
    return [run for run in runs if (name := run.data.tags.get(WRITER)) and alive(name) is False]


def live(config: RegistryConfig) -> str:
    """The MLflow experiment of the stages while they train."""
    return f"{config.experiment}-live"


def decisions(config: RegistryConfig) -> str:
    """The MLflow experiment of the promotion record's runs."""
    return f"{config.experiment}-promotions"


def paged(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """Everything on MLflow's pages; ``ask`` gets the page of a token."""
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def logged_models(client: Any, experiment_id: str, filter_string: str | None = None) -> Iterator[Any]:
    """The logged models of an experiment, however many there are."""
    search = partial(client.search_logged_models, experiment_ids=[experiment_id], filter_string=filter_string)
    return paged(lambda token: search(page_token=token))


def delete_models(client: Any, experiment_id: str, run_id: str) -> None:
    """Delete what a killed registration had begun to log."""
    for model in list(logged_models(client, experiment_id, f"source_run_id = '{run_id}'")):
        client.delete_logged_model(model.model_id)


def metric_name(key: str) -> str:
    """MLflow's names are letters, digits, ``_ - . / :`` and blanks."""
    return "".join(letter if letter.isalnum() or letter in "_-./: " else "_" for letter in key)[:250]
