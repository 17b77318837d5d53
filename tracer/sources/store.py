"""The files that records name: unpacked in a folder, or in zip archives, which are read as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from tracer.sources.source import Refused, checked_name, read_inside, screen
from tracer.sources.zips import Zip, is_whole

Archive = tuple[Path, ...]
"""One archive: its one file (the last, of one in parts), or the pieces that it was cut into, in order."""
PIECE = re.compile(r"(.+)_\d+(?:\.zip)?")
SPLIT = re.compile(r"\.z\d+")


class Store:
    """Finds a file by its path in the folder or archives, else by its bare name, where only one has that name.

    ``looked_for`` names the places that it was sought in, for the message about a missing file.
    """

    def __init__(self, folder: Path, archives: Sequence[Archive], looked_for: str) -> None:
        self._folder = folder
        self._looked_for = looked_for
        self._archives = [Zip(pieces[-1], pieces if len(pieces) > 1 else ()) for pieces in archives]
        self._bare: dict[str, list[tuple[Zip | None, str]]] | None = None

    def get(self, name: str) -> bytes:
        """The bytes of a file; raises ``Refused``."""
        name = checked_name(name)
        if (self._folder / name).is_file():
            return read_inside(self._folder, name)
        for archive in self._archives:
            if name in archive.members:
                return archive.read(name)
        if self._bare is None:
            self._bare = self._by_bare_name()
        found = self._bare.get(PurePosixPath(name).name, [])
        if len(found) != 1:
            nowhere = f"{name!r} is not in {self._folder.name}; looked for: {self._looked_for}"
            why = f"{len(found)} files are named like {name!r}" if found else nowhere
            raise Refused("missing file", why, "fetch the files again, or leave the record out")
        place, member = found[0]
        return place.read(member) if place else read_inside(self._folder, member)

    def screen(self, name: str) -> dict[str, Any]:
        """The fields of a ``Step`` that a picture gives; raises ``Refused``."""
        return screen(self.get(name), name)

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
def store(folder: Path, archives: tuple[Archive, ...] = (), looked_for: str = "") -> Store:
    """The store of a folder and archives, kept: an archive's directory can have 300,000 entries."""
    return Store(folder, archives, looked_for or f"{folder.name}/")


def archives(folder: Path, pattern: str) -> tuple[Archive, ...]:
    """The archives of a folder whose names match, in order; pieces such as ``x_01`` and ``x_02`` are joined.

    Pieces are those of one archive unless each is an archive by itself. The earlier parts of ``x.zip``, ``x.z01`` and
    on, are found by ``Zip``.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(each for each in folder.glob(pattern) if each.is_file() and not SPLIT.fullmatch(each.suffix)):
        piece = PIECE.fullmatch(path.name)
        found.setdefault(piece[1] if piece else path.name, []).append(path)
    groups: list[Archive] = []
    for paths in found.values():
        alone = len(paths) == 1 or all(map(is_whole, paths))
        groups += [(path,) for path in paths] if alone else [tuple(paths)]
    return tuple(groups)
