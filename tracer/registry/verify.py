"""Whether everything is there that the registry names, unaltered, and nothing besides.

Walks the promotion record, the registered versions with their runs, their data in DVC's cache and remotes, and the run
folders. Nothing is changed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.finding import Finding
from tracer.json_files import DamagedFile
from tracer.lineage.digest import LINEAGE, WORK_FOLDERS, LineageError, named
from tracer.lineage.step import verify_output
from tracer.registry import places, rebuild, record, step_runs, storage, tracking, versions
from tracer.registry.settings import RegistryConfig
from tracer.registry.versions import Version

BACKUP = "restore it from a backup (docs/operations.md)"


def verify(config: Config) -> list[Finding]:
    """Every finding, good and bad."""
    client = tracking.connect(config.registry)
    every = versions.every(config.registry)
    return [
        *_record(config.registry),
        *(finding for version in every for finding in _version(client, config.registry, version)),
        *_data(config, every),
        *_left_over(client, config.registry, every),
        *_folders(config),
    ]


def _record(config: RegistryConfig) -> Iterator[Finding]:
    """The promotion record, and the alias that is its shadow."""
    found = record.read(config)
    for name, what in sorted(found.damage.items()):
        fix = f"{BACKUP}, or see `{config.command('history --repair')}`"
        yield Finding("record", False, f"altered or missing: {name}: {what}", fix)
    if found.damage:
        return  # until it is put right, nobody knows who is champion
    alias = tracking.alias(tracking.connect(config), config.model, record.CHAMPION)
    if alias == found.champion:
        decided = f"{len(found.entries)} decisions; the champion is {found.champion or 'nobody yet'}"
        yield Finding("record", True, decided)
    else:
        misplaced = record.misplaced(config, found, alias)
        yield Finding("record", False, f"altered: {misplaced}", "one of the two commands named")


def _version(client: Any, config: RegistryConfig, version: Version) -> Iterator[Finding]:
    """A version's own files, and the runs that it names."""
    name = f"version {version.version}"
    faults: list[Finding] = []
    try:
        versions.model(version.uri, config)
        rebuild.document_of(version.uri, config)
    except (OSError, ValueError, KeyError, tracking.RegistryError, tracking.mlflow_error()) as error:
        faults.append(Finding(name, False, f"missing or altered: {_first_line(error)}", BACKUP))
    for step, run_id in {"training": version.run_id, **version.evaluations()}.items():
        wrong = _run(client, run_id)
        if wrong:
            faults.append(Finding(name, False, f"{wrong[0]}: the run {run_id} of {step}: {wrong[1]}", wrong[2]))
    yield from faults or [
        Finding(name, True, f"its files and its {1 + len(version.evaluations())} runs are as registered")
    ]


def _run(client: Any, run_id: str) -> tuple[str, str, str] | None:
    """What is wrong with a run that a version needs, and the fix."""
    try:
        run = client.get_run(run_id)
        if run.info.lifecycle_stage != "active":
            return "missing", "it was deleted", f"`mlflow runs restore --run-id {run_id}`"
        with tempfile.TemporaryDirectory() as temporary:
            for artifact in client.list_artifacts(run_id):
                if artifact.path in step_runs.ARTIFACTS:
                    client.download_artifacts(run_id, artifact.path, temporary)
            if not (Path(temporary) / LINEAGE).is_file():
                return "missing", f"it has no {LINEAGE}", BACKUP
            if run.data.tags.get(step_runs.FILES) != step_runs.files_digest(Path(temporary)):
                return "altered", "its files are not those that were logged", BACKUP
    except (OSError, tracking.mlflow_error()) as error:
        return "missing", _first_line(error), BACKUP
    return None


def _data(config: Config, every: list[Version]) -> Iterator[Finding]:
    """The data of every version in DVC's remotes, and what DVC's cache has."""
    md5s = versions.data_of(every)
    if not md5s:
        return
    try:
        for path in storage.altered():  # first: DVC itself deletes such a file when it comes across it
            yield Finding("cache", False, f"altered: {path}", f"`rm {path}`; `dvc fetch` brings it back")
        with storage.project(md5s) as project:
            for md5, numbers in md5s.items():
                name, remote = f"data {md5[:12]}", storage.holder(project, md5)
                if remote is None:
                    past = config.command("history")
                    fix = f"`dvc push` from the machine that has it; `{past}` says what depends on it"
                    yield Finding(name, False, f"missing: no DVC remote has all of it (version {numbers})", fix)
                else:
                    yield Finding(name, True, f"the remote {remote} has it (version {numbers})")
    except LineageError as error:
        fix = f"give DVC its remotes back, and run `{config.command('verify')}` again"
        yield Finding("data", False, f"missing: {error}", fix)


def _left_over(client: Any, config: RegistryConfig, every: list[Version]) -> Iterator[Finding]:
    """What interrupted commands left in the registry."""
    fix = f"`{config.command('gc')}` removes it"
    for run in tracking.abandoned(client, config):
        yield Finding(
            "registry", False, f"orphaned: run {run.info.run_id} ({run.info.run_name}), which nobody writes", fix
        )
    for run in tracking.killed(client, config):
        what = f"orphaned: run {run.info.run_id} ({run.info.run_name}), whose stage was killed"
        end = f"run the stage again, which goes on in it; `{config.command('gc')}` ends it"
        yield Finding("registry", False, what, end)
    for model in unregistered(client, config, every):
        yield Finding("registry", False, f"orphaned: the logged model {model.model_id}, which no version is", fix)
    database = places.database(config)
    if database is not None:
        known = {each.parent for each in places.stored(database)}
        there = places.artifacts(database)
        for path in sorted(
            {each.parent for each in (*there.glob("*/*/artifacts"), *there.glob("*/models/*/artifacts"))}
        ):
            if path not in known:
                yield Finding("registry", False, f"orphaned: {path}, which the database does not name", f"rm -r {path}")


def unregistered(client: Any, config: RegistryConfig, every: list[Version]) -> list[Any]:
    """The logged models that no version is, and that no registration may be about to make one of."""
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        return []
    registered = {version.model_id for version in every}
    oldest = (time.time() - tracking.LONGEST_WRITE) * 1000
    found = tracking.logged_models(client, experiment.experiment_id)
    return [each for each in found if each.model_id not in registered and each.creation_timestamp < oldest]


def _folders(config: Config) -> Iterator[Finding]:
    """The finished folders of steps."""
    count = 0
    for path in named(Path(config.build), LINEAGE):
        if set(path.parts) & set(WORK_FOLDERS):
            continue
        count += 1
        try:
            verify_output(path.parent)
        except FileNotFoundError:  # its step runs again, and has moved it
            count -= 1
        except (LineageError, DamagedFile) as error:
            yield Finding("folder", False, f"altered: {_first_line(error)}", f"rm -r {path.parent}")
    yield Finding("folders", True, f"{count} finished folders under {config.build} were looked at")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]
