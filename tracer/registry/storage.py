"""The data behind registered versions, by md5, through DVC's own commands.

DVC answers for the pointers of a project, and what a version was made of may be pinned in the working folder no more.
So a scratch project has a pointer for each md5; its cache and its remotes are those of the working folder.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tracer.lineage.digest import LineageError, file_digest
from tracer.lineage.pins import dvc, git

DVC = Path(".dvc")


@contextmanager
def project(md5s: Iterable[str]) -> Iterator[Path]:
    """A scratch project that pins these md5s, each under ``pointer``; raises ``LineageError``."""
    with tempfile.TemporaryDirectory(prefix="tracer-dvc-") as temporary:
        folder = Path(temporary)
        (folder / DVC).mkdir()
        share(folder / DVC, no_scm=True)
        for md5 in md5s:
            write_pin(folder / pointer(md5), md5, Path(pointer(md5)).stem)
        yield folder


def pointer(md5: str) -> str:
    """The name of an md5's pointer in a scratch project."""
    return f"{md5.removesuffix('.dir')}.dvc"


def write_pin(path: Path, md5: str, name: str) -> None:
    """Write a DVC pointer: the folder ``name`` beside it has this md5."""
    pinned = {"outs": [{"md5": md5, "hash": "md5", "path": name}]}
    path.write_text(yaml.safe_dump(pinned), encoding="utf-8")


def share(other: Path, **core: bool) -> None:
    """Give the DVC folder of another project the remotes and the cache of the working folder's; relative paths follow.

    ``core`` are further settings of that section. Raises ``LineageError`` where the working folder is no DVC project.
    """
    from dvc.config import Config, merge

    if not DVC.is_dir():
        raise LineageError(f"{Path.cwd()} is no DVC project (it has no {DVC}): run the command in the checkout")
    ours = Config(DVC)
    with Config(other).edit("local") as theirs:
        merge(theirs, ours.read())
        theirs["cache"].setdefault("dir", str(cache()))
        theirs["core"].update(core)
        theirs["core"]["site_cache_dir"] = str((other / "tmp").resolve())  # DVC would leave one for each project


def cache() -> Path:
    """The folder of DVC's cache."""
    from dvc.config import Config

    return Path(Config(DVC).read()["cache"].get("dir") or DVC / "cache").resolve()


def remotes() -> list[str]:
    """The names of the remotes."""
    from dvc.config import Config

    return list(Config(DVC).read()["remote"])


def holder(folder: Path, md5: str) -> str | None:
    """The first remote that has everything an md5 pins, asked in the ``project`` ``folder``; None if none has.

    ``dvc status --cloud`` asks for the list of a folder's files alone, and takes the files for granted. Raises
    ``LineageError`` where a remote does not answer.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(folder)) as repo:
            return next((remote for remote in remotes() if _has(repo, remote, md5)), None)
    except (DvcException, OSError) as error:
        raise LineageError(f"a DVC remote does not answer: {error}") from error


def _has(repo: Any, remote: str, md5: str) -> bool:
    store = repo.cloud.get_remote_odb(remote, "status", hash_name="md5")
    try:
        entries = json.loads(store.fs.cat_file(store.oid_to_path(md5))) if md5.endswith(".dir") else []
    except FileNotFoundError:
        return False
    wanted = {md5, *(entry["md5"] for entry in entries)}
    return wanted == set(store.list_oids_exists(wanted))


def listing(md5: str) -> Path:
    """The file of DVC's cache that lists what an md5 pins."""
    return cache() / "files" / "md5" / md5[:2] / md5[2:]


def cached(md5: str) -> bool:
    """Whether DVC's cache has everything that an md5 pins."""
    path = listing(md5)
    if not path.is_file():
        return False
    entries = json.loads(path.read_bytes()) if md5.endswith(".dir") else []
    return all(listing(entry["md5"]).is_file() for entry in entries)


def fetch(folder: Path, md5: str) -> bool:
    """Bring what an md5 of the ``project`` ``folder`` pins into DVC's cache; whether all of it is there then."""
    for remote in remotes():
        if cached(md5):
            return True
        with suppress(LineageError):  # this remote does not have it; the next may
            dvc("fetch", "--quiet", "--remote", remote, pointer(md5), folder=folder)
    return cached(md5)


def past_pins(pointer: str) -> set[str]:
    """Every md5 that a pointer pins in any commit; none outside a git checkout."""
    if not pointer:
        return set()
    patches = git("log", "--all", "--format=", "--patch", "--", pointer, fails=False)
    return set(re.findall(r"^[-+]- md5: (\w{32}(?:\.dir)?)$", patches, re.MULTILINE))


def altered() -> Iterator[Path]:
    """The files of DVC's cache whose contents are not what their names say."""
    for path in sorted((cache() / "files" / "md5").glob("??/*")):
        if f"{path.parent.name}{path.name.removesuffix('.dir')}" != file_digest(path, "md5"):
            yield path
