"""The step ``ingest``: raw episodes of one source become canonical shards; what cannot be read is quarantined.

Its folder holds the shards, ``quarantine.parquet`` (one row a rejected record) and ``stats.json``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tracer import plugins
from tracer.config import Config
from tracer.dataset import SHARD_BYTES, ShardWriter
from tracer.ingestion import mixture
from tracer.ingestion.assembly import ingest_whole
from tracer.ingestion.counts import STATS, Counts, Item
from tracer.ingestion.quarantine import QUARANTINE, QuarantineWriter, quarantined
from tracer.ingestion.settings import DataConfig
from tracer.json_files import write_json
from tracer.lineage.digest import LineageError
from tracer.lineage.pins import check_pin, pinned_md5
from tracer.lineage.step import run_step
from tracer.sources.source import SourceError, source
from tracer.trajectory import Trajectory


def ingest(config: Config, out: Path) -> dict[str, Any]:
    """Read ``config.data.path`` with its adapter into ``out``; the folder's lineage.

    Where ``config.mixture`` names sources, which are ingested already, their mixture is what is written instead.

    Raises ``LineageError`` for missing data, or data that changed under its DVC pin, and ``SourceError``.
    """
    if config.mixture.sources:
        return mixture.mix(config.mixture, out)
    data = config.data
    adapter = source(data.source)
    md5 = pinned(data)

    def body(folder: Path) -> dict[str, Any]:
        if data.limit is None and hasattr(adapter, "parts"):
            stats = ingest_whole(data.source, Path(data.path), folder, options=data.options, workers=data.workers)
        else:
            stats = write(limited(adapter.read(Path(data.path), **data.options), data.limit), folder)
        if not stats["trajectories"]:
            first = next(iter(quarantined(folder)), None)
            example = (
                "" if first is None else ", the first {file}, row {row}: {reason}: {detail}; {fix}".format(**first)
            )
            raise SourceError(f"{data.path}: not one of {stats['rejected']['total']} records was readable{example}")
        counts = {key: stats[key] for key in ("trajectories", "steps")}
        return {**counts, "rejected": stats["rejected"]["total"], "dvc_md5": md5}

    return run_step(out=out, body=body, **recipe(config))


def recipe(config: Config) -> dict[str, Any]:
    """What the digest of ``ingest`` is made of, as ``run_step`` takes it."""
    if config.mixture.sources:
        return mixture.recipe(config.mixture)
    return {
        "name": "ingest",
        "config": {"data": config.data.model_dump(mode="json", exclude={"workers"})},
        "inputs": {"raw": Path(config.data.path)},
        "module": __name__,
        "plugins": [plugins.module_of(plugins.SOURCES, config.data.source)],
    }


def pinned(data: DataConfig) -> str | None:
    """The md5 of the data if DVC pins it and it is what is pinned, None if nothing pins it; raises ``LineageError``."""
    pointer = Path(data.pointer)
    if not data.pointer or not pointer.is_file():
        return None
    folder = pointer.parent / pinned_folder(pointer)
    if not folder.is_dir():
        raise LineageError(f"{folder}, pinned by {pointer}, does not exist; fetch it with `dvc pull`")
    if not Path(data.path).resolve().is_relative_to(folder.resolve()):
        raise LineageError(
            f"data.path {data.path} is not in {folder}, which {pointer} pins; "
            f"set data.pointer to the path's own pointer, or to '' for data that DVC does not track"
        )
    return check_pin(folder, pointer)


def pinned_folder(pointer: Path) -> str:
    """The folder that a ``.dvc`` file pins, relative to the file; raises ``LineageError``."""
    pinned_md5(pointer)
    return str(yaml.safe_load(pointer.read_text())["outs"][0]["path"])


def limited(found: Iterable[Item], limit: int | None) -> Iterator[Item]:
    """At most ``limit`` trajectories a task and split, the first ones; every rejected record stays."""
    taken: Counter[tuple[str, str]] = Counter()
    for item in found:
        if isinstance(item, Trajectory):
            key = (item.split, item.task)
            if limit is not None and taken[key] >= limit:
                continue
            taken[key] += 1
        yield item


def write(found: Iterable[Item], out: Path, *, shard_bytes: int = SHARD_BYTES) -> dict[str, Any]:
    """Write shards, quarantine and statistics of everything found; the statistics."""
    counts = Counts()
    with ShardWriter(out, shard_bytes=shard_bytes) as shards, QuarantineWriter(out / QUARANTINE) as quarantine:
        for item in found:
            counts.add(item)
            if isinstance(item, Trajectory):
                shards.add(item)
            else:
                quarantine.add(item)
    stats = counts.to_dict()
    write_json(out / STATS, stats)
    return stats
