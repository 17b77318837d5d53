"""The step ``ingest``: raw episodes of one source become canonical shards; what cannot be read is quarantined.

Its folder holds the shards, ``quarantine.parquet`` (one row a rejected record) and ``stats.json``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tracer import plugins
from tracer.config import Config
from tracer.dataset import SHARD_BYTES, ShardWriter
from tracer.ingestion.settings import DataConfig
from tracer.json_files import write_json
from tracer.lineage.digest import LineageError
from tracer.lineage.pins import check_pin, pinned_md5
from tracer.lineage.step import run_step
from tracer.sources.source import Rejected, SourceError, source
from tracer.trajectory import SPLITS, Trajectory

QUARANTINE = "quarantine.parquet"
STATS = "stats.json"
QUARANTINE_ROWS = 256
Item = Trajectory | Rejected


def ingest(config: Config, out: Path) -> dict[str, Any]:
    """Read ``config.data.path`` with its adapter into ``out``; the folder's lineage.

    Where ``config.mixture`` names sources, which are ingested already, their mixture is what is written instead.

    Raises ``LineageError`` for missing data, or data that changed under its DVC pin, and ``SourceError``.
    """
    if config.mixture.sources:
        from tracer.ingestion.mixture import mix  # which imports this module

        return mix(config.mixture, out)
    data = config.data
    adapter = source(data.source)
    md5 = pinned(data)

    def body(folder: Path) -> dict[str, Any]:
        if data.limit is None and hasattr(adapter, "parts"):
            from tracer.ingestion.assembly import ingest_whole  # which imports this module

            stats = ingest_whole(data.source, Path(data.path), folder, options=data.options, workers=data.workers)
        else:
            stats = write(limited(adapter.read(Path(data.path), **data.options), data.limit), folder)
        if not stats["trajectories"]:
            first = next(iter(quarantined(folder)), None)
            example = (
                "" if first is None else ", the first {file}, row {row}: {reason}: {detail}; {mend}".format(**first)
            )
            raise SourceError(f"{data.path}: not one of {stats['rejected']['total']} records was readable{example}")
        counts = {key: stats[key] for key in ("trajectories", "steps")}
        return {**counts, "rejected": stats["rejected"]["total"], "dvc_md5": md5}

    return run_step(out=out, body=body, **recipe(config))


def recipe(config: Config) -> dict[str, Any]:
    """What the digest of ``ingest`` is made of, as ``run_step`` takes it."""
    if config.mixture.sources:
        from tracer.ingestion import mixture  # which imports this module

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
            f"data.path {data.path} does not lie in {folder}, which {pointer} pins; "
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


class Counts:
    """Counts what was ingested, to hold against what a data set's publisher states."""

    def __init__(self) -> None:
        self.trajectories: Counter[tuple[str, str, str]] = Counter()
        """By source, split and task; ``steps`` likewise."""
        self.steps: Counter[tuple[str, str, str]] = Counter()
        self.actions: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()

    def add(self, item: Item) -> None:
        if isinstance(item, Rejected):
            self.rejected[item.reason] += 1
            return
        key = (item.source, item.split, item.task)
        self.trajectories[key] += 1
        self.steps[key] += len(item.steps)
        self.outcomes[item.outcome] += 1
        self.actions.update(step.action.type for step in item.steps)

    def to_dict(self) -> dict[str, Any]:
        def total(counter: Counter[tuple[str, str, str]], place: int) -> dict[str, int]:
            totals: Counter[str] = Counter()
            for key, count in counter.items():
                totals[key[place]] += count
            return dict(sorted(totals.items()))

        splits = [split for split in SPLITS if any(key[1] == split for key in self.trajectories)]
        return {
            "trajectories": self.trajectories.total(),
            "steps": self.steps.total(),
            "sources": total(self.trajectories, 0),
            "outcomes": dict(sorted(self.outcomes.items())),
            "actions": dict(sorted(self.actions.items())),
            "splits": {split: self._split(split) for split in splits},
            "rejected": {"total": self.rejected.total(), "reasons": dict(sorted(self.rejected.items()))},
        }

    def _split(self, split: str) -> dict[str, Any]:
        tasks: dict[str, dict[str, int]] = {}
        for key in sorted(self.trajectories):
            if key[1] == split:
                task = tasks.setdefault(key[2], {"trajectories": 0, "steps": 0})
                task["trajectories"] += self.trajectories[key]
                task["steps"] += self.steps[key]
        sums = {name: sum(task[name] for task in tasks.values()) for name in ("trajectories", "steps")}
        return {**sums, "tasks": tasks}


class QuarantineWriter:
    """Writes rejected records to one Parquet file, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> QuarantineWriter:
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts = ("reason", "detail", "mend", "raw")
        named = [("source", pa.string()), ("file", pa.string()), ("row", pa.int64()), ("trajectory_id", pa.string())]
        self._schema = pa.schema([*named, *((name, pa.string()) for name in texts)])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink()

    def add(self, rejected: Rejected) -> None:
        row = {name: getattr(rejected, name) for name in ("source", "file", "row", "reason", "detail", "mend", "raw")}
        self._rows.append({**row, "trajectory_id": rejected.id})
        if len(self._rows) >= QUARANTINE_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def quarantined(folder: Path) -> list[dict[str, Any]]:
    """The rejected records of an ingested folder, without their raw text."""
    import pyarrow.parquet as pq

    columns = ["source", "file", "row", "trajectory_id", "reason", "detail", "mend"]
    return pq.read_table(folder / QUARANTINE, columns=columns).to_pylist()
