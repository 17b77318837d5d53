"""Removing what nobody needs any more: folders that were set aside, checkpoints, DVC's cache, MLflow's deleted runs.

Whatever a registered version or a running step needs stays. A version needs its files in the registry, the runs behind
it, and its data; the folders that it was made in can be made again.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.lineage.digest import LINEAGE, STARTED, LineageError, begun, named
from tracer.lineage.pins import dvc
from tracer.lineage.step import locked
from tracer.registry import places, storage, tracking, versions
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError
from tracer.registry.verify import unregistered

DAY = 24 * 3600
CHECKPOINTS = "checkpoints"
STALE = ".stale"
BATCHES = "batches"
"""Below the build folder: where arrivals are judged. The reports are in the inbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Something that went, or in a dry run would go."""

    what: str
    where: str
    size: int
    """Bytes; 0 where that is not known."""


def collect(config: Config, dry_run: bool = False) -> list[Removed]:
    """Remove it, or only say what would be removed; raises ``RegistryError`` and ``LineageError``."""
    return [*_folders(config, dry_run), *_registry(config, dry_run), *_cache(config, dry_run)]


def _folders(config: Config, dry_run: bool) -> Iterator[Removed]:
    """Checkpoints of finished steps, and what was set aside, left unfinished or judged long enough ago."""
    build = Path(config.build)
    started = named(build, STARTED)
    inputs = [source for path in started for source in (begun(path.parent) or {}).get("inputs", {}).values()]
    read = {Path(source["path"]).resolve() for source in inputs}
    oldest = time.time() - config.registry.keep_stale_days * DAY

    def old(folder: Path) -> bool:
        with suppress(FileNotFoundError):  # a step has taken its folder back
            return folder.lstat().st_ctime < oldest and folder.resolve() not in read
        return False

    for path in named(build, LINEAGE):
        if path.parent.parent.name != STALE:
            kept = path.parent / CHECKPOINTS
            yield from _remove("checkpoints of a finished step", kept, path.parent, dry_run, path.exists)
    for path in named(build, STALE):
        for folder in sorted(path.iterdir()):
            out = path.parent / folder.name.rpartition("-")[0]
            yield from _remove("set aside", folder, out, dry_run, partial(old, folder))
    for path in started:
        if path.parent.parent.name != STALE:
            unfinished = partial(lambda path: path.exists() and old(path.parent), path)
            yield from _remove("left unfinished", path.parent, path.parent, dry_run, unfinished)
    for path in sorted((build / BATCHES).glob("*")):
        yield from _remove("work on a batch", path, path, dry_run, partial(old, path))


def _remove(what: str, folder: Path, out: Path, dry_run: bool, unneeded: Callable[[], bool]) -> Iterator[Removed]:
    """Remove a folder of the step that writes ``out``, unless that is running.

    Whether nobody needs it is asked again then: the step may have taken it up, and have finished, in the meantime.
    """
    if not folder.is_dir() or not unneeded():
        return
    try:
        with locked(out):
            if not folder.is_dir() or not unneeded():
                return
            found = Removed(what=what, where=str(folder), size=size_of(folder))
            if not dry_run:
                shutil.rmtree(folder)
    except LineageError:
        return
    yield found


def size_of(folder: Path) -> int:
    """The bytes of the files in a folder, each counted once however often it is linked."""
    stats = [path.lstat() for path in folder.rglob("*") if path.is_file()]
    return sum({(each.st_dev, each.st_ino): each.st_size for each in stats}.values())


def _registry(config: Config, dry_run: bool) -> Iterator[Removed]:
    """Runs that a killed command began, models that no version is, and what was deleted in MLflow."""
    client, every = tracking.connect(config.registry), versions.every(config.registry)
    database = places.database(config.registry)
    for run in tracking.abandoned(client, config.registry):
        yield Removed(what="run that nobody writes", where=run.info.run_id, size=0)
        if not dry_run:
            tracking.delete_models(client, run.info.experiment_id, run.info.run_id)
            client.delete_run(run.info.run_id)
    for run in tracking.killed(client, config.registry):
        yield Removed(what="run of a killed stage, which stays and is ended", where=run.info.run_id, size=0)
        if not dry_run:
            client.set_terminated(run.info.run_id, "KILLED")
    for model in unregistered(client, config.registry, every):
        yield Removed(what="model that no version is", where=model.model_id, size=0)
        if not dry_run:
            if database is None:
                _remote(model.artifact_location).delete_artifacts()
            client.delete_logged_model(model.model_id)
    if database is not None and not database.is_file():
        return
    for version in every:
        _require(client, config.registry, version)
    deleted = _deleted(client)
    if database is None:
        yield from _deleted_files(deleted, dry_run)
        return
    before = size_of(places.artifacts(database))
    if dry_run:
        yield from (Removed(what="deleted run", where=run.info.run_id, size=0) for run in deleted)
        return
    uri = config.registry.tracking_uri
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--tracking-uri", uri]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        raise RegistryError(f"`mlflow gc` failed: {' '.join(done.stderr.split())[-600:]}")
    size = before - size_of(places.artifacts(database))
    if deleted or size:
        what = f"{len(deleted)} deleted runs, and deleted models"
        yield Removed(what=what, where=str(places.artifacts(database)), size=size)


def _deleted_files(deleted: list[Any], dry_run: bool) -> Iterator[Removed]:
    """The files of deleted runs on a server, whose rows only `mlflow gc` beside its database removes."""
    for run in deleted:
        files = _remote(run.info.artifact_uri)
        if files.list_artifacts():
            yield Removed(what="files of a deleted run", where=run.info.run_id, size=0)
            if not dry_run:
                files.delete_artifacts()


def _remote(address: str) -> Any:
    """The store of a server's files at an address."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(address)


def _require(client: Any, config: RegistryConfig, version: versions.Version) -> None:
    """Raise ``RegistryError`` where somebody deleted what a version needs: ``mlflow gc`` would remove it for good."""
    for run_id in (version.run_id, *version.evaluations().values()):
        if client.get_run(run_id).info.lifecycle_stage != "active":
            raise RegistryError(
                f"version {version.version} needs the run {run_id}, which was deleted: bring it back with `mlflow runs "
                f"restore --run-id {run_id}`, and run `{config.command('gc')}` again"
            )
    try:
        client.get_logged_model(version.model_id)
    except tracking.mlflow_error() as error:
        see = config.command("verify")
        raise RegistryError(f"version {version.version} has lost its files ({error}); see `{see}`") from error


def _deleted(client: Any) -> list[Any]:
    from mlflow.entities import ViewType

    every = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
    return list(client.search_runs(every, run_view_type=ViewType.DELETED_ONLY, max_results=tracking.MOST))


def _cache(config: Config, dry_run: bool) -> Iterator[Removed]:
    """What DVC's cache has beside the working folder's data, those of registered versions, and those in no remote."""
    if not storage.DVC.is_dir():
        return
    md5s = set(versions.data_of(versions.every(config.registry)))
    past = storage.past_pins(config.data.pointer) - md5s
    with storage.project(past) as project:
        md5s |= {md5 for md5 in past if storage.holder(project, md5) is None}
    md5s = {md5 for md5 in md5s if storage.listing(md5).is_file()}  # DVC would look for the others in the remotes
    before = size_of(storage.cache())
    with storage.project(md5s) as project:
        said = dvc("gc", "--workspace", "--force", "--projects", str(project), *["--dry"] * dry_run)
    size = before - size_of(storage.cache())
    if size or dry_run:
        yield Removed(what="data in DVC's cache", where=" ".join(said.split()) or str(storage.cache()), size=size)
