"""What training starts from: the base planner, or a registered version, such as the champion of when the run began.

A run is the work on one ingestion of the data. Whoever is champion when its first step comes is its start, which
``STARTS`` keeps: a promotion during the run, or after it, makes none of its steps stale, and the same data again finds
its finished folders. The version's files become the folder of the planner ``base``, a step with a lineage of its own.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from tracer.config import Config
from tracer.json_files import read_json, write_json
from tracer.lineage.digest import content_digest, digest_of, finished
from tracer.lineage.step import run_step
from tracer.planner import hub
from tracer.registry import record, versions
from tracer.registry.tracking import RegistryError
from tracer.settings import ConfigError
from tracer.stages import BASE
from tracer.training import processes
from tracer.training.replay import EPISODES

STARTS = "starts.json"
"""Beside the steps' folders: what the run on each ingestion of the data started from."""
DIGITS = 16


def resolved(config: Config) -> Config:
    """The configuration with what its run starts from: ``base``, or ``NAME/VERSION#DIGEST``, whose digest is of the
    weights. Raises ``RegistryError`` for a version that is not there, and where nobody knows who is champion.
    """
    start = config.retrain.from_
    if start == BASE or "#" in start:
        return config
    if start == record.CHAMPION:
        start = _kept(config).get(_run(config)) or _champion(config)
    else:
        start = _named(versions.version_of(start, config.registry))
    return config.model_copy(update={"retrain": config.retrain.model_copy(update={"from_": start})})


def begin(config: Config) -> Config:
    """``resolved``, and kept from now on. Of several processes that train together none decides."""
    run = _run(config)
    if config.retrain.from_ == record.CHAMPION and run and processes.world() == 1:
        with FileLock(config.folder / f".{STARTS}.lock"):
            kept = _kept(config)
            if run not in kept:
                write_json(config.folder / STARTS, {**kept, run: _champion(config)})
    return resolved(config)


def identity(config: Config) -> str:
    """What tells the start of a run from every other: the version, or the digest of the base planner's folder."""
    found = resolved(config)
    return content_digest(hub.folder(found)) if found.retrain.from_ == BASE else found.retrain.from_


def ready(config: Config) -> None:
    """Bring what a ``resolved`` configuration starts from; of several processes that train together none does."""
    if config.retrain.from_ != BASE and processes.world() == 1:
        fetch(config)


def folder(config: Config) -> Path:
    """Where the planner is that training starts from."""
    return hub.folder(config) if resolved(config).retrain.from_ == BASE else config.out(BASE)


def fetch(config: Config, out: Path | None = None) -> dict[str, Any]:
    """Bring the version that a ``resolved`` configuration starts from into the folder of ``base``; the lineage.

    Raises ``ConfigError`` where it starts from the base planner, and ``RegistryError``, also for files that are not
    those registered.
    """
    if config.retrain.from_ == BASE:
        raise ConfigError("retrain.from is base, or there is no champion yet: training starts from planner.base")
    return run_step(
        BASE, config=_recipe(config), inputs={}, out=out or config.out(BASE), module=__name__,
        body=lambda folder: _copy(config, folder),
    )  # fmt: skip


def elsewhere(config: Config) -> str:
    """Why the folder of ``base`` is not what a ``resolved`` configuration starts from; empty where it is."""
    if config.retrain.from_ == BASE:
        return ""
    lineage = finished(config.out(BASE))
    there = lineage["config"] if lineage else {}
    if there == _recipe(config):
        return ""
    before = f"{there['version']}#{there['weights']}" if "version" in there else BASE
    return f"input {BASE}: {before} -> {config.retrain.from_}"


def _run(config: Config) -> str:
    """What names the run: the digest of what was ingested; empty before anything was."""
    ingested = finished(config.out("ingest"))
    return digest_of(sorted(each["digest"] for each in ingested["inputs"].values()))[:DIGITS] if ingested else ""


def _kept(config: Config) -> dict[str, str]:
    path = config.folder / STARTS
    return dict(read_json(path)) if path.is_file() else {}


def _champion(config: Config) -> str:
    number = record.settle(config.registry).champion
    return BASE if number is None else _named(versions.numbered(config.registry, number))


def _named(version: versions.Version) -> str:
    return f"{version.name}/{version.version}#{version.tags.get(versions.WEIGHTS, '')[:DIGITS]}"


def _recipe(config: Config) -> dict[str, str]:
    version, _, weights = config.retrain.from_.partition("#")
    return {"version": version, "weights": weights}


def _copy(config: Config, out: Path) -> dict[str, Any]:
    recipe = _recipe(config)
    version = versions.version_of(recipe["version"], config.registry)
    files = versions.model(version.uri, config.registry)
    weights = version.tags[versions.WEIGHTS]
    if not weights.startswith(recipe["weights"]):
        raise RegistryError(
            f"{version.uri} has the weights {weights[:DIGITS]} and not {recipe['weights']}: this is another registry "
            f"than the run began with"
        )
    shutil.rmtree(out / "model", ignore_errors=True)
    shutil.copytree(files, out / "model")
    shutil.copy(versions.download(version.uri, config.registry) / "artifacts" / EPISODES, out / EPISODES)
    return {"version": recipe["version"], "weights": weights, "digest": version.digest, "output": version.output}
