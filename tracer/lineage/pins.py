"""The md5s with which DVC pins data, and the commands of DVC and git."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import yaml

from tracer.lineage.digest import LineageError, file_digest


def dvc_md5(folder: Path) -> str:
    """The md5 that DVC 3 gives a folder: of the JSON list of its files' md5 and path, in path order."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    listing = [{"md5": file_digest(folder / name, "md5"), "relpath": name} for name in names]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def pointer_of(setting: str) -> Path | None:
    """The ``.dvc`` file that a setting names, None for no name; raises ``LineageError`` for one that is not there."""
    if setting and not Path(setting).is_file():
        raise LineageError(
            f"{setting} does not exist, so nothing says whether the data is what it should be: restore it with `git "
            f"checkout {setting}`, pin the data as it is with `dvc add {Path(setting).with_suffix('')}`, or set "
            f"data.pointer to '' for data that DVC does not track"
        )
    return Path(setting) if setting else None


def pinned_md5(pointer: Path) -> str:
    """The md5 that a ``.dvc`` file pins; raises ``LineageError``."""
    return _pinned(pointer)[0]


def pinned_folder(pointer: Path) -> Path:
    """The folder that a ``.dvc`` file pins; raises ``LineageError``."""
    return pointer.parent / _pinned(pointer)[1]


def _pinned(pointer: Path) -> tuple[str, str]:
    try:
        out = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]
        return str(out["md5"]), str(out["path"])
    except (OSError, KeyError, IndexError, TypeError, ValueError, yaml.YAMLError) as error:
        raise LineageError(
            f"{pointer} is not a DVC pointer with an md5 ({error!r}); restore it with `git checkout`"
        ) from error


def check_pin(folder: Path, pointer: Path) -> str:
    """The folder's DVC md5 if it is the pinned one; raises ``LineageError``."""
    pinned, found = pinned_md5(pointer), dvc_md5(folder)
    if found != pinned:
        raise LineageError(
            f"{folder} has md5 {found}, but {pointer} pins {pinned}: the data changed under its pin. "
            f"Accept the change with `dvc add {folder}` or undo it with `dvc checkout {pointer}`; "
            f"`dvc diff` and `dvc status` name the files"
        )
    return found


def dvc(*arguments: str, folder: Path | None = None) -> str:
    """What a ``dvc`` command prints in a folder, by default this one; raises ``LineageError`` with the end of what it
    said."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        raise LineageError(f"`dvc {' '.join(arguments)}` failed: {' '.join(done.stderr.split())[-600:]}")
    return done.stdout


def git(*arguments: str, fails: bool = True) -> str:
    """What a ``git`` command prints in this folder.

    Where it does not succeed, or git is not installed, that is nothing or, where that ``fails``, a ``LineageError``.
    """
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8")
        problem = " ".join(done.stderr.split())[-600:] if done.returncode else None
    except FileNotFoundError as error:
        problem = str(error)
    if problem is None:
        return done.stdout.strip()
    if fails:
        raise LineageError(f"`git {' '.join(arguments)}` failed: {problem}")
    return ""
