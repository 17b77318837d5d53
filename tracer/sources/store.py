"""The files that records name: unpacked in a folder, or in zip archives, which are read as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from tracer.sources.source import MAX_IMAGE_BYTES, Refused, checked_name
from tracer.sources.zips import Zip


class Store:
    """Finds a file by its path in the folder or archives, else by its bare name, where only one has that name."""

    def __init__(self, folder: Path, archives: Sequence[Path]) -> None:
        self._folder = folder
        self._archives = [Zip(path) for path in archives]
        self._bare: dict[str, list[tuple[Zip | None, str]]] | None = None

    @property
    def where(self) -> str:
        """What was searched, for messages."""
        return ", ".join([self._folder.name, *(archive.path.name for archive in self._archives)])

    def get(self, name: str) -> bytes:
        """The bytes of a file; raises ``Refused``."""
        checked_name(name)
        path = self._folder / name
        if path.is_file():
            return self._read(path, name)
        for archive in self._archives:
            if name in archive.members:
                return archive.read(name)
        if self._bare is None:
            self._bare = self._by_bare_name()
        found = self._bare.get(PurePosixPath(name).name, [])
        if len(found) != 1:
            why = f"{name!r} is not in {self.where}" if not found else f"{len(found)} files are named like {name!r}"
            raise Refused("missing file", why, "fetch the files again, or leave the record out")
        archive_or_none, member = found[0]
        if archive_or_none is not None:
            return archive_or_none.read(member)
        return self._read(self._folder / member, name)

    def _read(self, path: Path, name: str) -> bytes:
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise Refused("unsafe file name", f"{name!r} links out of {self._folder.name}", "copy the file there")
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise Refused("file too large", f"{name!r} has {path.stat().st_size} bytes", "shrink it")
        return path.read_bytes()

    def _by_bare_name(self) -> dict[str, list[tuple[Zip | None, str]]]:
        found: dict[str, list[tuple[Zip | None, str]]] = {}
        for archive in self._archives:
            for member in archive.members:
                found.setdefault(PurePosixPath(member).name, []).append((archive, member))
        for folder, folders, names in os.walk(self._folder):
            folders.sort()
            for name in names:
                member = (Path(folder) / name).relative_to(self._folder).as_posix()
                found.setdefault(name, []).append((None, member))
        return found


@lru_cache(maxsize=4)
def store(folder: Path, archives: tuple[Path, ...] = ()) -> Store:
    """The store of a folder and archives, kept: an archive's directory can have 300,000 entries."""
    return Store(folder, archives)
