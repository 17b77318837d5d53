"""Shards in an object store: put there under their content, and kept nearby, verified, while the disk has room."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock

from tracer.json_files import read_json, write_json
from tracer.lineage.digest import file_digest
from tracer.settings import ConfigError

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
    """A store that does not answer, or does not hold what it should; the message says what to do."""


_far: set[str] = set()
"""The shards, by digest, of which this process could not keep a copy: it does not try at every row group."""


def check(address: str) -> None:
    """Write a mark into a store and read it again, before there is work that could be lost.

    Raises ``StoreError``, and ``ConfigError`` for an address of a kind that cannot be reached from here.
    """
    from upath import UPath

    written = b"tracer keeps shards here\n"
    with _answering(address):
        try:
            mark = UPath(address, use_listings_cache=False) / ".tracer"
            mark.write_bytes(written)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"data.store {address}: {error}") from error
        if mark.read_bytes() != written:
            raise StoreError(f"{address} does not give back what was written: something else answers there")


def upload(folder: Path, paths: Sequence[Path], address: str) -> None:
    """Move a folder's shards into a store, leaving the manifest. After a kill, what is there is not sent again.

    Raises ``StoreError``: then nothing is removed here.
    """
    shards = {}
    for path in paths:
        digest, size = file_digest(path), path.stat().st_size
        with _answering(address):
            target = _place(address, path.name, digest)
            if not _holds(target, size):
                target.fs.put_file(str(path), target.path)
                if not _holds(target, size):
                    raise StoreError(f"{target} is not there whole although it was sent; run the step again")
        shards[path.name] = {"sha256": digest, "bytes": size}
    write_json(folder / MANIFEST, {"store": address, "shards": shards})
    for path in paths:
        path.unlink()


def listed(folder: Path) -> list[Any]:
    """The shards that a folder's manifest names, in order: paths of universal_pathlib; none without a manifest."""
    if not (folder / MANIFEST).is_file():
        return []
    kept = read_json(folder / MANIFEST, "store", "shards")
    return [_place(kept["store"], name, each["sha256"]) for name, each in sorted(kept["shards"].items())]


def opened(path: Path | UPath) -> BinaryIO:
    """A shard to read, from the disk or from its store; raises ``StoreError`` for one that is not what was uploaded."""
    if isinstance(path, Path):
        return path.open("rb")
    try:
        return _near(path).open("rb")
    except StoreError:
        raise
    except OSError as error:  # no room, no permission, or removed meanwhile; the store's own errors come again below
        if path.parent.name not in _far:
            log.warning("%s is read from the store: %s", path.name, error)
        _far.add(path.parent.name)
    # A row group is read in a few long pieces: fsspec's own reading ahead would fetch it twice.
    stream: BinaryIO = path.open("rb", cache_type="none")
    return stream


def damaged(path: Path | UPath) -> Path | None:
    """The copy of a shard that is kept nearby, if it is not what was uploaded; it is removed, and fetched anew."""
    if isinstance(path, Path) or not (local := _copy(path)).is_file() or file_digest(local) == path.parent.name:
        return None
    local.unlink(missing_ok=True)
    return local


@contextmanager
def _answering(address: str) -> Iterator[None]:
    # The clients of stores raise errors of their own, of their network library's and of Python's.
    try:
        yield
    except (StoreError, ConfigError):
        raise
    except Exception as error:
        raise StoreError(
            f"the store {address}: {error or repr(error)}; see whether it answers (AWS_ENDPOINT_URL), whether the "
            f"bucket exists, and whether your key may write there"
        ) from error


def _place(address: str, name: str, digest: str) -> UPath:
    # Under its content: equal shards are stored once, and none is ever overwritten by another.
    from upath import UPath

    return UPath(address, use_listings_cache=False) / digest / name


def _holds(target: UPath, size: int) -> bool:
    return target.exists() and target.stat().st_size == size


def _copy(path: UPath) -> Path:
    return Path(os.environ.get(CACHE) or Path(".cache", "shards")) / path.parent.name / path.name


def _near(path: UPath) -> Path:
    """A verified local copy of a shard, fetched now if it is not there; raises ``OSError`` where it cannot be kept."""
    local, digest = _copy(path), path.parent.name
    if local.is_file():
        return local
    if digest in _far:
        raise FileNotFoundError(local)
    local.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(local.with_name(f".{local.name}.lock")):  # the processes of a machine fetch a shard once
        if local.is_file():
            return local
        disk = shutil.disk_usage(local.parent)
        if disk.free - path.stat().st_size < FREE * disk.total:
            raise OSError(f"{local.parent} is to keep {100 * FREE:.0f} % of its disk free")
        part = local.with_name(f".{local.name}.part")
        try:
            path.fs.get_file(path.path, str(part))
            if file_digest(part) != digest:
                raise StoreError(
                    f"{path} is not what was uploaded: delete it there and the folder of the step `ingest`, and run "
                    f"that step again"
                )
            os.replace(part, local)
        finally:
            part.unlink(missing_ok=True)
    return local
