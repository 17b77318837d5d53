"""Digests of values, files and folders."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tracer.json_files import read_json
from tracer.settings import ConfigError

LINEAGE = "lineage.json"
STARTED = ".started.json"
HEADLINE = "metrics.json"
"""The lineage's headline metrics alone, for DVC."""
# What a resumed run may leave differently from an uninterrupted one, and no later step reads.
WORK_FOLDERS = ("checkpoints", "logs")


class LineageError(RuntimeError):
    """An input that is missing, unfinished or not what was pinned; the message names it and the fix."""


class MissingInput(LineageError, ConfigError):
    """An input that is named and not there."""


def digest_of(value: Any) -> str:
    """sha256 of a JSON value, its keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def tree_digest(folder: Path) -> str:
    """The digest of a folder: of the names and contents of its files, work folders and lineage aside."""
    return digest_of({name: file_digest(folder / name) for name in files_of(folder)})


def files_of(folder: Path) -> list[str]:
    """The names of a folder's files that count."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    skipped = {LINEAGE, STARTED, HEADLINE}
    return sorted(n.as_posix() for n in names if n.parts[0] not in WORK_FOLDERS and n.as_posix() not in skipped)


def finished(out: Path) -> dict[str, Any] | None:
    """The lineage of a finished folder, or None."""
    return _document(Path(out) / LINEAGE)


def begun(out: Path) -> dict[str, Any] | None:
    """What the digest of an unfinished folder is made of, or None."""
    return _document(Path(out) / STARTED)


def _document(path: Path) -> dict[str, Any] | None:
    try:
        return dict(read_json(path, "digest"))
    except (FileNotFoundError, NotADirectoryError):  # asked afterwards: a step may just be moving its folder
        return None


def named(root: Path, name: str) -> list[Path]:
    """Every file and folder of this name below a folder, in which steps may be moving theirs meanwhile."""
    return sorted(Path(folder) / name for folder, folders, files in os.walk(root) if name in folders or name in files)


def lock_of(out: Path) -> Path:
    """The file that is locked while a step's folder is written."""
    return out.parent / f".{out.name}.lock"


def writer(out: Path) -> int | None:
    """The process that is writing a step's folder at this moment, or None."""
    if not lock_of(out).is_file() or not (out / STARTED).is_file():
        return None
    try:
        with FileLock(lock_of(out), timeout=0):
            return None
    except Timeout:
        return (begun(out) or {}).get("process")
    except OSError:  # a disk that is read-only has no writer
        return None


def unfinished(path: Path) -> str:
    """What to say of a step's folder that cannot be used yet."""
    process = writer(path)
    if process is None:
        return f"{path} is unfinished; run its step again, which resumes it"
    return f"{path} is being made now, by process {process}; wait until that has ended"


def content_digest(path: Path) -> str:
    """The digest of an input: a finished step's output digest, else a hash over the files themselves."""
    if not path.exists():
        raise MissingInput(f"{path} does not exist; run the step that makes it, or `dvc pull` for data")
    if path.is_file():
        return file_digest(path)
    lineage = finished(path)
    if lineage is not None:
        return lineage["output"]
    if (path / STARTED).exists():
        raise LineageError(unfinished(path))
    return tree_digest(path)
