"""Joins the ingested parts of a source: shards numbered through, one quarantine, one ``stats.json``.

Shards below 100 MB are joined with their neighbours, row group by row group; the others are linked, not copied. A
trajectory whose id an earlier part has goes to the quarantine. The result depends on the parts alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import plugins
from tracer.dataset import SHARD_BYTES, parquet_writer, trajectories_from_rows
from tracer.ingestion.counts import STATS, Counts
from tracer.ingestion.parts import PARTS, PartsError, checked_options, duplicate, ingest_parts, trajectory_ids
from tracer.ingestion.quarantine import QUARANTINE, QuarantineWriter, rejected_records
from tracer.json_files import write_json
from tracer.lineage.step import run_step
from tracer.sources.source import SourceError, source
from tracer.trajectory import SPLITS

SMALL = 100 * 2**20
LARGE = 500 * 2**20


def ingest_source(
    name: str,
    path: Path,
    out: Path,
    *,
    options: Mapping[str, Any] | None = None,
    workers: int = 1,
    shard_bytes: int = SHARD_BYTES,
    progress: bool = False,
) -> dict[str, Any]:
    """Ingest a whole source, part by part, into ``out``; the folder's lineage. It is the step ``ingest`` at scale.

    Raises ``SourceError`` for a source that is not there, ``PartsError`` for parts that failed.
    """
    options = checked_options(name, options or {})

    def body(folder: Path) -> dict[str, Any]:
        stats = ingest_whole(
            name, path, folder, options=options, workers=workers, shard_bytes=shard_bytes, progress=progress
        )
        counts = {key: stats[key] for key in ("trajectories", "steps")}
        return {**counts, "rejected": stats["rejected"]["total"]}

    return run_step(
        "ingest",
        config={"source": name, "options": options, "shard_bytes": shard_bytes},
        inputs={"raw": path},
        out=out,
        module=__name__,
        plugins=[plugins.module_of(plugins.SOURCES, name)],
        body=body,
    )


def ingest_whole(
    name: str,
    path: Path,
    out: Path,
    *,
    options: Mapping[str, Any] | None = None,
    workers: int = 1,
    shard_bytes: int = SHARD_BYTES,
    progress: bool = False,
) -> dict[str, Any]:
    """Ingest every part and join them in ``out``; the statistics. Raises as ``ingest_source`` does."""
    published = getattr(source(name), "PUBLISHED", None)
    parts = ingest_parts(name, path, out, options=options, workers=workers, shard_bytes=shard_bytes, progress=progress)
    stats = assemble(parts, out, published=published)
    if not stats["trajectories"]:
        raise SourceError(
            f"{path}: not one of {stats['rejected']['total']} records was readable; see {out / QUARANTINE}"
        )
    shutil.rmtree(out / PARTS)  # linked shards stay
    return stats


def join_parts(name: str, parts: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Join parts that were ingested one by one (``ingest_part``), in the order of the mapping; the folder's lineage.

    It is the step ``ingest`` where an orchestrator ran the parts. Raises ``LineageError`` for a part that is missing,
    ``PartsError`` for one that is unfinished.
    """
    unfinished = [part for part, folder in parts.items() if not (folder / STATS).is_file()]
    if unfinished:
        raise PartsError(f"{name}: {len(unfinished)} parts are not ingested, such as {unfinished[0]}; run them first")

    def body(folder: Path) -> dict[str, Any]:
        stats = assemble(list(parts.values()), folder, published=getattr(source(name), "PUBLISHED", None))
        counts = {key: stats[key] for key in ("trajectories", "steps")}
        return {**counts, "rejected": stats["rejected"]["total"]}

    return run_step(
        "ingest", config={"source": name, "parts": list(parts)}, inputs=parts, out=out, module=__name__, body=body
    )


def assemble(parts: Sequence[Path], out: Path, *, published: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Join finished parts, in their order, into ``out``; the statistics, beside the published counts."""
    out.mkdir(parents=True, exist_ok=True)
    dropped = _duplicates(parts)
    for split in SPLITS:
        groups = _groups([shard for part in parts for shard in sorted(part.glob(f"{split}-*.parquet"))])
        number = 0
        for group in groups:
            target = out / f"{split}-{number:05d}.parquet"
            target.unlink(missing_ok=True)
            if len(group) == 1 and group[0] not in dropped:
                os.link(group[0], target)
                number += 1
            else:
                number += _join(group, dropped, target)
    removed = Counts()
    with QuarantineWriter(out / QUARANTINE) as quarantine:
        for part in parts:
            for rejected in rejected_records(part / QUARANTINE):
                quarantine.add(rejected)
        for shard, ids in dropped.items():
            for trajectory in _read(shard, ids):
                removed.add(trajectory)
                quarantine.add(duplicate(trajectory))
    stats = _statistics([json.loads((part / STATS).read_text()) for part in parts], removed)
    if published:
        stats["published"] = compared(stats, published)
    write_json(out / STATS, stats)
    return stats


def compared(stats: Mapping[str, Any], published: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Published counts beside ours: a difference is for people to judge, so it is reported and stops nothing.

    A count is named by its path in the statistics, such as ``splits.test.steps``.
    """
    found: dict[str, dict[str, int]] = {}
    for name, count in published.items():
        value: Any = stats
        for key in name.split("."):
            value = value.get(key, {}) if isinstance(value, Mapping) else {}
        here = value if isinstance(value, int) else 0
        found[name] = {"published": count, "found": here, "difference": here - count}
    return found


def _duplicates(parts: Sequence[Path]) -> dict[Path, set[str]]:
    """The ids that each shard repeats from an earlier one."""
    seen: set[str] = set()
    found: dict[Path, set[str]] = {}
    for part in parts:
        for shard in sorted(part.glob("*-*.parquet")):
            ids = trajectory_ids(shard)
            repeated = seen.intersection(ids)
            if repeated:
                found[shard] = repeated
            seen.update(ids)
    return found


def _groups(shards: list[Path]) -> list[list[Path]]:
    """Neighbours that make one shard: at least ``SMALL`` together, as long as they stay under ``LARGE``."""
    groups: list[list[Path]] = []
    sizes: list[int] = []
    for shard in shards:
        size = shard.stat().st_size
        small = groups and (sizes[-1] < SMALL or size < SMALL)
        if small and sizes[-1] + size <= LARGE:
            groups[-1].append(shard)
            sizes[-1] += size
        else:
            groups.append([shard])
            sizes.append(size)
    return groups


def _join(group: Sequence[Path], dropped: Mapping[Path, set[str]], target: Path) -> int:
    """Write a group's row groups into one shard; 1, or 0 where nothing is left to write."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    part, rows = target.with_name(f".{target.name}.part"), 0
    with parquet_writer(part) as writer:
        for shard in group:
            with pq.ParquetFile(shard) as file:
                for index in range(file.num_row_groups):
                    table = file.read_row_group(index)
                    if shard in dropped:
                        repeated = pa.array(sorted(dropped[shard]))
                        table = table.filter(pc.invert(pc.is_in(table["trajectory_id"], value_set=repeated)))
                    if table.num_rows:
                        writer.write_table(table)
                        rows += table.num_rows
    if not rows:
        part.unlink()
        return 0
    os.replace(part, target)
    return 1


def _read(shard: Path, ids: set[str]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(shard) as file:
        rows = (row for batch in file.iter_batches(batch_size=64) for row in batch.to_pylist())
        yield from (each for each in trajectories_from_rows(rows, str(shard)) if each.id in ids)


def _statistics(parts: Sequence[dict[str, Any]], removed: Counts) -> dict[str, Any]:
    taken = removed.to_dict()
    total: dict[str, Any] = Counts().to_dict()
    for stats in parts:
        total = _sum(total, stats, 1)
    total = _sum(total, taken, -1)
    total = _sum(total, {"rejected": {"total": taken["trajectories"], "reasons": {}}}, 1)
    if taken["trajectories"]:
        total = _sum(total, {"rejected": {"reasons": {"duplicate id": taken["trajectories"]}}}, 1)
    total["splits"] = {split: total["splits"][split] for split in SPLITS if split in total["splits"]}
    return total


def _sum(left: Mapping[str, Any], right: Mapping[str, Any], sign: int) -> dict[str, Any]:
    found = dict(left)
    for key, value in right.items():
        before = found.get(key)
        found[key] = _sum(before or {}, value, sign) if isinstance(value, Mapping) else (before or 0) + sign * value
    return {key: found[key] for key in [*left, *sorted(set(found) - set(left))]}
