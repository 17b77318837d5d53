"""A backup of everything that registered versions need, and its way back.

A backup is a folder: MLflow's database and files, wherever the registry is, a DVC remote with the data of the
registered versions, and the git history. ``backup.json`` is written last; a folder that has it is whole.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.json_files import read_json, write_json
from tracer.lineage.digest import LineageError
from tracer.lineage.pins import dvc, git, pinned_folder, pinned_md5
from tracer.registry import copied, places, record, storage, versions
from tracer.registry.tracking import RegistryError
from tracer.settings import ConfigError

RECEIPT = "backup.json"
DATABASE, DATA, CODE = "mlflow.db", "dvc", "code.bundle"
REMOTE, GIT = "tracer-backup", Path(".git")
REFS = "+refs/*:refs/tracer-backup/*"


def backup(config: Config, folder: Path) -> dict[str, Any]:
    """Write a backup into a new folder; return what is in it.

    A registry on a server becomes a local one there. Raises ``RegistryError`` where there is no registry, and where
    data of a version are neither in DVC's cache nor in a remote.
    """
    database = places.database(config.registry)
    if database is not None and not database.is_file():
        raise RegistryError(f"{database} does not exist: there is no registry to back up")
    if folder.exists() and any(folder.iterdir()):
        raise RegistryError(f"{folder} is not empty: every backup goes into a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    every = versions.every(config.registry)
    if database is None:
        copied.copy(config.registry, (folder / DATABASE).resolve())
    else:  # the database first: whatever it names is there by then, and stays
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(folder / DATABASE)) as target:
            source.backup(target)
        shutil.copytree(places.artifacts(database), folder / places.FOLDER)
    md5s = versions.data_of(every)
    if md5s:
        with storage.project(md5s) as project:
            for md5, numbers in md5s.items():
                if not storage.fetch(project, md5):
                    raise RegistryError(
                        f"the data {md5}, which version {numbers} was made of, are neither in DVC's cache nor in a "
                        f"remote: `dvc push` them from where they are"
                    )
            dvc("remote", "add", "--force", REMOTE, str((folder / DATA).resolve()), folder=project)
            dvc("push", "--quiet", "--remote", REMOTE, folder=project)
    code = GIT.exists()
    if code:
        git("bundle", "create", "--quiet", str((folder / CODE).resolve()), "--all")
    found = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": config.registry.model,
        "versions": [version.version for version in every],
        "champion": record.whole(config.registry).champion,
        "data": md5s,
        "code": code,
    }
    write_json(folder / RECEIPT, found)
    return found


def restore(config: Config, folder: Path) -> dict[str, Any]:
    """Bring a backup back into a checkout that has no registry; return what was in it.

    The data go into DVC's cache, into its default remote if that answers, and into the working folder where its pinned
    data are absent. Raises ``RegistryError`` where there is a registry, and ``ConfigError`` for a folder that is no
    whole backup.
    """
    if not (folder / RECEIPT).is_file():
        raise ConfigError(f"{folder} is no backup, or not a whole one: it has no {RECEIPT}")
    found: dict[str, Any] = read_json(folder / RECEIPT, "versions", "data")
    database = places.database(config.registry)
    if database is None:
        raise RegistryError(
            f"a backup becomes a local registry, and registry.tracking_uri is {config.registry.tracking_uri}: "
            f"--set registry.tracking_uri=sqlite:///mlflow.db"
        )
    files = places.artifacts(database)
    for taken in (database, files):
        if taken.exists():
            raise RegistryError(f"{taken} is there: move it away, a backup does not overwrite a registry")
    if found["code"] and GIT.exists():
        git("fetch", "--quiet", str((folder / CODE).resolve()), REFS)
    _data(config, folder, found["data"])
    arriving = database.with_name(f".{database.name}.arriving")
    shutil.copy(folder / DATABASE, arriving)
    places.relocate(arriving)
    shutil.copytree(folder / places.FOLDER, files)
    os.replace(arriving, database)
    return found


def _data(config: Config, folder: Path, md5s: Mapping[str, str]) -> None:
    if not md5s:
        return
    with storage.project(md5s) as project:
        dvc("remote", "add", "--force", REMOTE, str((folder / DATA).resolve()), folder=project)
        dvc("fetch", "--quiet", "--remote", REMOTE, folder=project)
        with suppress(LineageError):  # no default remote, or one that does not answer: `tracer verify` says so
            dvc("push", "--quiet", folder=project)
    pointer = Path(config.data.pointer)
    if not config.data.pointer or not pointer.is_file() or pinned_folder(pointer).exists():
        return
    if storage.cached(pinned_md5(pointer)):
        dvc("checkout", "--quiet", str(pointer))
