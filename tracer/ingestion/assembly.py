"""Joins the ingested parts of a source: shards numbered through, one quarantine, one ``stats.json``.

Shards below 100 MB are joined with their neighbours, row group by row group; the others are linked, not copied. A
trajectory whose id an earlier part has goes to the quarantine. The result depends on the parts alone.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.dataset import parquet_writer, read_shard
from tracer.ingestion.counts import STATS, Counts, metrics, warnings
from tracer.ingestion.items import duplicate
from tracer.ingestion.parts import PartsError, of_trajectories
from tracer.ingestion.quarantine import QUARANTINE, QuarantineWriter, quarantined
from tracer.json_files import read_json, write_json
from tracer.lineage.step import run_step
from tracer.sources.source import source
from tracer.trajectory import SPLITS

log = logging.getLogger(__name__)

SMALL = 100 * 2**20
LARGE = 500 * 2**20


def join_parts(name: str, parts: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Join parts that were ingested one by one (``ingest_part``), in the order of the mapping; the folder's lineage.

    It is the step ``ingest`` where an orchestrator ran the parts. Raises ``LineageError`` for a part that is missing,
    ``PartsError`` for one that is unfinished.
    """
    unfinished = [part for part, folder in parts.items() if not (folder / STATS).is_file()]
    if unfinished:
        raise PartsError(f"{name}: {len(unfinished)} parts are not ingested, such as {unfinished[0]}; run them first")

    def body(folder: Path) -> dict[str, Any]:
        return metrics(assemble(name, list(parts.values()), folder))

    config = {"source": name, "parts": list(parts)}
    return run_step("ingest", config=config, inputs=parts, out=out, module=__name__, body=body)


def assemble(name: str, parts: Sequence[Path], out: Path) -> dict[str, Any]:
    """Join a source's finished parts, in their order, into ``out``; the statistics, beside the published counts."""
    out.mkdir(parents=True, exist_ok=True)
    dropped = _duplicates(parts)
    for split in SPLITS:
        groups = _groups([shard for part in parts for shard in sorted(part.glob(f"{split}-*.parquet"))])
        number = 0
        for group in groups:
            target = out / f"{split}-{number:05d}.parquet"
            target.unlink(missing_ok=True)
            if len(group) == 1 and group[0] not in dropped:
                _link(group[0], target)
                number += 1
            else:
                number += _join(group, dropped, target)
    counts = Counts()
    with QuarantineWriter(out / QUARANTINE) as quarantine:
        for part in parts:
            counts.include(read_json(part / STATS))
            for rejected in quarantined(part):
                quarantine.add(rejected)
        for shard, ids in dropped.items():
            for trajectory in (each for each in read_shard(shard) if each.id in ids):
                rejected = duplicate(trajectory)
                counts.reject(trajectory, rejected.reason)
                quarantine.add(rejected)
    stats = counts.to_dict()
    published = getattr(source(name), "PUBLISHED", None)
    if published:
        stats["published"] = compared(stats, published)
    lengths = (length for shard in sorted(out.glob("*-*.parquet")) for length in of_trajectories(shard, "steps"))
    found = warnings(Counter(lengths))
    if found:
        stats["warnings"] = found
        log.warning("%s: %s", name, "; ".join(found))
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
            ids = of_trajectories(shard, "trajectory_id")
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


def _link(shard: Path, target: Path) -> None:
    try:
        os.link(shard, target)
    except OSError:  # a file system without links
        shutil.copyfile(shard, target)


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
