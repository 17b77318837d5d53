"""The task's files: a folder that ``TRACER_FILES`` names, and what every tool of one file has.

A file is named by its path in the folder, or, as records of other machines do (MM-Traj's ``data/.../1.jpg``, GTA's
``image/image_1.jpg``), by a path whose last part only one file of the folder has. Nothing outside is opened.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field

from tracer.action import Action
from tracer.examples import Example
from tracer.lineage.digest import digest_of, file_digest
from tracer.settings import ConfigError
from tracer.sources.source import Refused
from tracer.sources.store import store
from tracer.tools.execution import Identity, Outcome
from tracer.tools.toolbox import Tool

FILES = "TRACER_FILES"
CACHED = 512
"""Readings that are kept; a document's is up to a megabyte."""


class Named(BaseModel):
    """Which file."""

    path: str = Field(min_length=1, max_length=1000, description="The file's path in the folder of the task's files.")


File = TypeVar("File", bound=Named)


class FileTool(Tool[File]):
    """A tool of one of the task's files. Without ``TRACER_FILES`` it is off."""

    recorded: tuple[str, ...] = ()
    """Names by which data sets record calls of a tool that takes the same arguments."""

    def execute(self, at: Example, call: Action) -> Outcome | None:
        """What the tool answers; never from memory by the path alone, under which another file may be by now."""
        return self._run(call.get("arguments")) if call.get("name") in (self.name, *self.recorded) else None

    def identities(self) -> Sequence[Identity]:
        """The tool, and the folder by the digest of its contents; none where it is off. Raises ``ConfigError``."""
        folder = named_folder()
        if folder is None:
            return []
        files = {each: each.stat() for each in sorted(folder.rglob("*")) if each.is_file()}
        digests = {
            each.relative_to(folder).as_posix(): _digest(each, about.st_size, about.st_mtime_ns)
            for each, about in files.items()
        }
        found = Identity(name=f"{self.name}/{FILES}", version=self.version(), digest=digest_of(digests))
        return [*super().identities(), found]


def contents(path: str) -> bytes:
    """The bytes of a file; raises ``ValueError`` for a wrong path, and ``ConfigError`` for what the user has to fix."""
    folder = named_folder()
    if folder is None:
        raise ValueError(f"there are no files; name their folder in {FILES}")
    try:
        content = store(folder, (), "its path in the folder, or a name that one file has").get(path)
    except Refused as error:
        raise ValueError(error.detail) from error
    except OSError as error:
        raise ConfigError(f"{FILES}: {error}") from error
    if not content:
        raise ValueError(f"{path!r} is empty")
    return content


def named_folder() -> Path | None:
    """The folder that ``TRACER_FILES`` names, or None; raises ``ConfigError`` where it names none."""
    name = os.environ.get(FILES, "").strip()
    if name and not Path(name).is_dir():
        raise ConfigError(f"{FILES} names {name!r}, which is no folder")
    return Path(name) if name else None


def installed(package: str, extra: str) -> str:
    """A package and its version; raises ``ConfigError`` where it is not there."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError as error:
        install = f"pip install -c constraints.txt -e '.[{extra}]'"
        raise ConfigError(f"a tool of grounding.executors needs the package {package}: {install}") from error


def by_content(read: Callable[..., Any]) -> Callable[..., Any]:
    """A reader whose first argument is a file's bytes; equal contents are read once."""
    kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def once(content: bytes, *rest: Any) -> Any:
        key = (hashlib.sha256(content).digest(), *rest)
        if key not in kept:
            kept[key] = read(content, *rest)
            if len(kept) > CACHED:
                kept.popitem(last=False)
        return kept[key]

    return once


@lru_cache(100_000)
def _digest(path: Path, size: int, changed: int) -> str:
    """A file's digest, made once while nobody writes it: a lineage is asked for several times."""
    return file_digest(path)
