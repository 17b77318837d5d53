"""Shards in an object store: put there under their content, and kept nearby, verified, while the disk has room."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock

from tracer.json_files import read_json, write_json
from tracer.lineage.digest import file_digest

if TYPE_CHECKING:
    from upath import UPath

log = logging.getLogger(__name__)

MANIFEST = "shards.json"
"""In a folder whose shards are in a store: the store's address, and the shards by name, with digest and size."""
CACHE = "TRACER_SHARD_CACHE"
"""The environment variable that names the folder for what was fetched."""
FREE = 0.1
"""The share of the disk that fetching leaves free; what does not fit is read from the store, piece by piece."""


class StoreError(OSError):
    """A store that does not hold what it should; the message says what to do."""


def upload(folder: Path, paths: Sequence[Path], address: str) -> None:
    """Move a folder's shards into a store, leaving the manifest. After a kill, what is there is not sent again."""
    shards = {}
    for path in paths:
        digest, size = file_digest(path), path.stat().st_size
        target = _place(address, path.name, digest)
        if not target.exists() or target.stat().st_size != size:
            target.fs.put_file(str(path), target.path)
        shards[path.name] = {"sha256": digest, "bytes": size}
    write_json(folder / MANIFEST, {"store": address, "shards": shards})
    for path in paths:
        path.unlink()


def listed(folder: Path) -> list[Any]:
    """The shards that a folder's manifest names, in order: paths of universal_pathlib; none without a manifest."""
    if not (folder / MANIFEST).is_file():
        return []
    kept = read_json(folder / MANIFEST)
    return [_place(kept["store"], name, each["sha256"]) for name, each in sorted(kept["shards"].items())]


def _place(address: str, name: str, digest: str) -> UPath:
    # Under its content: equal shards are stored once, and none is ever overwritten by another.
    from upath import UPath

    return UPath(address, use_listings_cache=False) / digest / name


def opened(path: Path) -> BinaryIO:
    """A shard to read, from the disk or from its store; raises ``StoreError`` for one that is not what was uploaded."""
    near: Any = path if isinstance(path, Path) else _nearby(path)
    # A row group is read in a few long pieces: fsspec's own reading ahead would fetch it twice.
    stream: BinaryIO = near.open("rb") if isinstance(near, Path) else near.open("rb", cache_type="none")
    return stream


def _nearby(path: UPath) -> Path | UPath:
    """Where to read a shard: a verified local copy, fetched now if it is not there and the disk has room."""
    name, digest = path.name, path.parent.name
    local = Path(os.environ.get(CACHE) or Path(".cache", "shards")) / digest / name
    if local.is_file():
        return local
    local.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(local.with_name(f".{name}.lock")):  # the processes of a machine fetch a shard once
        if local.is_file():
            return local
        disk = shutil.disk_usage(local.parent)
        if disk.free - path.stat().st_size < FREE * disk.total:
            log.info("%s is read from the store: %s is to keep %.0f%% free", name, local.parent, 100 * FREE)
            return path
        part = local.with_name(f".{name}.part")
        path.fs.get_file(path.path, str(part))
        if file_digest(part) != digest:
            part.unlink()
            raise StoreError(f"{path} is not what was uploaded: delete it there, and run the step `ingest` again")
        os.replace(part, local)
    return local
