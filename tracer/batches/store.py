"""The accepted batches: where they are, and how one comes in or goes out as a whole.

A batch is the folder ``<data.path>/batches/<batch>``, in our interchange format, with its ``batch.json``. It moves by
one rename, and the data's new pin is one commit. ``PENDING`` says what is under way: whatever a killed command left,
the next one of any kind completes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tracer.config import Config
from tracer.ingestion.ingest import pinned
from tracer.ingestion.items import items
from tracer.ingestion.settings import DataConfig
from tracer.json_files import read_json, write_json
from tracer.lineage.digest import LineageError
from tracer.lineage.pins import dvc, git, pinned_folder
from tracer.settings import ConfigError
from tracer.sources.recording import Recording
from tracer.trajectory import Trajectory

BATCH = "batch.json"
STATE = Path(".tracer")
PENDING = STATE / "data.json"


@contextmanager
def changing() -> Iterator[None]:
    """Nobody else changes the data meanwhile, and what a killed command left is complete; raises ``LineageError``."""
    STATE.mkdir(exist_ok=True)
    try:
        with FileLock(STATE / "data.lock", timeout=0):
            finish()
            yield
    except Timeout as error:
        raise LineageError("another process is changing the data; wait for it, or stop it") from error


def pointer_of(config: Config) -> Path:
    """The pointer that pins the data; ``dvc add`` makes it for data that nothing pins yet."""
    if config.data.source != "jsonl":
        raise ConfigError(
            f"data.source is {config.data.source}, and batches are kept as jsonl, whatever they come from: set "
            f"data.source to jsonl and data.path to the folder that they go to"
        )
    return Path(config.data.pointer or f"{config.data.path}.dvc")


def present(config: Config) -> Iterator[Trajectory]:
    """Every readable episode of the data as it is pinned; raises ``LineageError`` if it is not as pinned."""
    if pointer_of(config).is_file():
        pinned(config.data)
    elif any(Path(config.data.path).glob("*")):
        raise LineageError(f"{config.data.path} is there and nothing pins it: `dvc add {config.data.path}` comes first")
    else:
        return iter(())
    return readable(config.data)


def readable(data: DataConfig) -> Iterator[Trajectory]:
    """Every readable episode of a source; raises ``SourceError``."""
    return (found for found in items(data) if isinstance(found, Trajectory))


def place(config: Config, batch: str) -> Path:
    """Where a batch is, once it is accepted."""
    return Path(config.data.path) / "batches" / batch


def accepted(config: Config) -> list[dict[str, Any]]:
    """What ``batch.json`` says of every accepted batch, by name."""
    return [read_json(path, "batch") for path in sorted(Path(config.data.path).glob(f"batches/*/{BATCH}"))]


def put(config: Config, about: Mapping[str, Any], trajectories: Iterable[Trajectory], message: str) -> str:
    """Add a batch; where its pin went, in words. Raises ``LineageError``; the next command then goes on from there."""
    staged = _staged(config, about["batch"])
    shutil.rmtree(staged, ignore_errors=True)
    with ExitStack() as stack:
        files: dict[str, Recording] = {}
        for trajectory in trajectories:
            if trajectory.split not in files:
                files[trajectory.split] = stack.enter_context(Recording(staged / trajectory.split))
            files[trajectory.split].add(trajectory)
    write_json(staged / BATCH, dict(about))
    return _change(config, about["batch"], staged, place(config, about["batch"]), message)


def take_out(config: Config, batch: str, message: str) -> str:
    """Remove a batch; where the pin went. Raises ``ConfigError`` for one that is not there, and ``LineageError``."""
    folder, staged = place(config, batch), _staged(config, batch)
    if not (folder / BATCH).is_file():
        known = ", ".join(each["batch"] for each in accepted(config)) or "none"
        raise ConfigError(f"there is no batch {batch} in {folder.parent}; there are: {known}")
    shutil.rmtree(staged, ignore_errors=True)
    return _change(config, batch, folder, staged, message)


def _staged(config: Config, batch: str) -> Path:
    """Beside the pinned folder, and so on its file system, but no part of it."""
    folder = _folder(config).resolve()
    return folder.parent / f".{folder.name}-{batch}"


def _folder(config: Config) -> Path:
    pointer = pointer_of(config)
    return pinned_folder(pointer) if pointer.is_file() else Path(config.data.path)


def _change(config: Config, batch: str, source: Path, target: Path, message: str) -> str:
    paths = {"from": source, "to": target, "folder": _folder(config), "pointer": pointer_of(config)}
    todo = {"batch": batch, "message": message, **{name: str(path) for name, path in paths.items()}}
    write_json(PENDING, {**todo, "staged": str(_staged(config, batch))})
    return finish()


def finish() -> str:
    """Complete the change that is under way, if there is one; where its pin went, in words. Raises ``LineageError``."""
    if not PENDING.is_file():
        return ""
    todo = read_json(PENDING, "batch", "message", "from", "to", "folder", "pointer", "staged")
    if Path(todo["from"]).exists():
        Path(todo["to"]).parent.mkdir(parents=True, exist_ok=True)
        os.rename(todo["from"], todo["to"])
    dvc("add", "--quiet", todo["folder"])
    remote = dvc("remote", "list").strip()
    if remote:
        dvc("push", "--quiet", todo["pointer"])
    commit = _commit(Path(todo["pointer"]), todo["message"])
    if commit:
        where = f"commit {commit[:12]}"
    elif remote:
        where = f"there is no git checkout here: the pointer is {_upload(Path(todo['pointer']), todo['batch'])}"
    else:
        where = f"there is neither a git checkout nor a DVC remote: {todo['pointer']} alone has the pin"
    shutil.rmtree(todo["staged"], ignore_errors=True)
    PENDING.unlink()
    return where


def _commit(pointer: Path, message: str) -> str:
    """Commit the pointer and nothing else; the commit, or an empty text outside a checkout. Raises ``LineageError``."""
    if not git("rev-parse", "--is-inside-work-tree", fails=False):
        return ""
    paths = [str(pointer)]
    committed = git("ls-tree", "HEAD", "--", str(pointer), fails=False)
    if not committed:  # the first time: DVC had git ignore what the pointer pins
        paths += [str(path) for path in [pointer.with_name(".gitignore")] if path.is_file()]
    git("add", "--", *paths)
    if git("diff", "--cached", "--name-only", "--", *paths):
        git("commit", "--quiet", "--only", "--message", message, "--", *paths)
    return git("rev-parse", "HEAD")


def _upload(pointer: Path, batch: str) -> str:
    """Put a pointer beside the data, on the DVC remote, under the batch's name; where it is."""
    from dvc.repo import Repo

    with Repo() as repo:
        remote = repo.cloud.get_remote()
        folder = remote.fs.join(remote.path, "batches")
        remote.fs.makedirs(folder, exist_ok=True)
        where = str(remote.fs.join(folder, f"{batch}.dvc"))
        remote.fs.put_file(str(pointer), where)
    return where
