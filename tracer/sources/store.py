"""The files that records name: unpacked in a folder, or in zip archives, which are read as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from tracer.sources.source import Refused, checked_name, read_inside
from tracer.sources.zips import Zip


class Store:
    """Finds a file by its path in the folder or archives, else by its bare name, where only one has that name."""

    def __init__(self, folder: Path, archives: Sequence[Path]) -> None:
        self._folder = folder
        self._archives = [Zip(path) for path in archives]
        self._bare: dict[str, list[tuple[Zip | None, str]]] | None = None

    def get(self, name: str) -> bytes:
        """The bytes of a file; raises ``Refused``."""
        checked_name(name)
        if (self._folder / name).is_file():
            return read_inside(self._folder, name)
        for archive in self._archives:
            if name in archive.members:
                return archive.read(name)
        if self._bare is None:
            self._bare = self._by_bare_name()
        found = self._bare.get(PurePosixPath(name).name, [])
        if len(found) != 1:
            where = ", ".join([self._folder.name, *(archive.path.name for archive in self._archives)])
            why = f"{len(found)} files are named like {name!r}" if found else f"{name!r} is not in {where}"
            raise Refused("missing file", why, "fetch the files again, or leave the record out")
        place, member = found[0]
        return place.read(member) if place else read_inside(self._folder, member)

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
