"""The step ``ingest``: raw episodes of one source become canonical shards; what cannot be read is quarantined.

Its folder holds the shards, ``quarantine.parquet`` (one row per rejected record) and ``stats.json``.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from tracer import plugins, store
from tracer.config import Config
from tracer.dataset import ShardWriter, shards
from tracer.ingestion import mixture
from tracer.ingestion.assembly import assemble
from tracer.ingestion.counts import Counts, metrics, warnings
from tracer.ingestion.items import items, limited, write
from tracer.ingestion.parts import PARTS, ingest_parts
from tracer.ingestion.quarantine import quarantined
from tracer.ingestion.settings import DataConfig
from tracer.lineage.digest import LineageError
from tracer.lineage.pins import check_pin, pinned_folder, pointer_of
from tracer.lineage.step import run_step
from tracer.sources.recording import RECORDED
from tracer.sources.source import Rejected, SourceError
from tracer.trajectory import Trajectory

MAX_SHOWN = 20
"""How many problems ``check`` lists."""


def ingest(config: Config, out: Path) -> dict[str, Any]:
    """Ingest ``config.data`` into ``out``, or mix the ingested sources that ``config.mixture`` names; the lineage.

    Raises what ``ingest_source`` and ``mixture.mix`` raise.
    """
    if config.mixture.sources:
        return mixture.mix(config.mixture, out, store=config.data.store)
    return ingest_source(config.data, out)


def ingest_source(data: DataConfig, out: Path, *, progress: bool = False) -> dict[str, Any]:
    """Read ``data.path`` with its adapter, part by part, into ``out``; the folder's lineage.

    Raises ``LineageError`` for missing data, or data that changed under its DVC pin, ``SourceError`` for a source that
    cannot be read, and ``PartsError`` for parts that failed.
    """
    md5 = pinned(data)

    def body(folder: Path) -> dict[str, Any]:
        if data.store:
            store.check(data.store)
        if data.limit is None:
            stats = assemble(data.source, ingest_parts(data, folder, progress=progress), folder)
        else:
            stats = write(limited(items(data), data.limit), ShardWriter(folder))
        if not stats["trajectories"]:
            example = "".join(f", the first {rejected}" for rejected in islice(quarantined(folder), 1))
            raise SourceError(f"{data.path}: not one of {stats['rejected']['total']} records was readable{example}")
        if data.store:
            store.upload(folder, shards(folder), data.store)
        if data.limit is None:
            shutil.rmtree(folder / PARTS)  # linked shards stay
        return {**metrics(stats), "dvc_md5": md5}

    return run_step(out=out, body=body, **_recipe(data))


def recipe(config: Config) -> dict[str, Any]:
    """What the digest of ``ingest`` is made of, as ``run_step`` takes it."""
    return mixture.recipe(config.mixture, store=config.data.store) if config.mixture.sources else _recipe(config.data)


def _recipe(data: DataConfig) -> dict[str, Any]:
    return {
        "name": "ingest",
        # Where the data is does not matter; what it contains does, and that is hashed as an input.
        "config": {"data": data.model_dump(mode="json", exclude={"workers", "path"})},
        "inputs": {"raw": Path(data.path)},
        "module": __name__,
        "plugins": [plugins.module_of(plugins.SOURCES, data.source)],
    }


def check(data: DataConfig, look: Callable[[Trajectory], None] = lambda found: None) -> dict[str, Any]:
    """What an ingestion would find, without writing anything: counts, the reasons of rejections, the first problems.

    ``look`` is called with each trajectory.

    Raises ``SourceError`` for a source that cannot be read at all.
    """
    counts, problems, lengths, unknown = Counts(), list[str](), Counter[int](), list[str]()
    for item in items(data):
        counts.add(item)
        if isinstance(item, Trajectory):
            lengths[len(item.steps)] += 1
            if (item.source, item.outcome) == (RECORDED, "unknown"):
                unknown.append(item.id)
            look(item)
        if isinstance(item, Rejected) and len(problems) < MAX_SHOWN:
            problems.append(str(item))
    stats = counts.to_dict()
    found = warnings(lengths)
    if unknown:
        shown = ", ".join(unknown[:MAX_SHOWN])
        found.append(
            f"{len(unknown)} recorded without a known outcome, by an interruption or an action that was not recorded: "
            f"{shown}; delete these, unless you know that they are of use"
        )
    return {
        **metrics(stats),
        "reasons": stats["rejected"]["reasons"],
        "problems": problems,
        **({"warnings": found} if found else {}),
    }


def pinned(data: DataConfig) -> str | None:
    """The md5 of the data if DVC pins it and it is what is pinned, None for data that is not pinned.

    Raises ``LineageError``.
    """
    pointer = pointer_of(data.pointer)
    if pointer is None:
        return None
    folder = pinned_folder(pointer)
    if not folder.is_dir():
        raise LineageError(f"{folder}, pinned by {pointer}, does not exist; fetch it with `dvc pull`")
    if not Path(data.path).resolve().is_relative_to(folder.resolve()):
        raise LineageError(
            f"data.path {data.path} is not in {folder}, which {pointer} pins; "
            f"set data.pointer to the path's own pointer, or to '' for data that DVC does not track"
        )
    return check_pin(folder, pointer)
