"""The step ``mixture``: trajectories of several ingested sources, filtered, capped and weighted into one folder.

A weight is a source's share of the mixture's trajectories, relative to the others. Every source gives as many as its
weight allows without repeating one: the source that runs short first decides the size, unless a cap decides sooner.
Which trajectories are taken, and which of a source without a test split are held out, follows from the seed and the
trajectory's id alone: adding a source changes nothing for the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer.dataset import SHARD_BYTES, ShardWriter, read, shards
from tracer.ingestion.counts import STATS, Counts
from tracer.ingestion.filters import reason_against
from tracer.ingestion.settings import MixtureConfig
from tracer.json_files import write_json
from tracer.lineage.step import read_lineage, run_step
from tracer.settings import ConfigError
from tracer.store import check, upload
from tracer.trajectory import Trajectory


class MixtureError(ValueError):
    """A mixture that would hold nothing; the message names the source and the filter that emptied it."""


def mix(config: MixtureConfig, out: Path, *, shard_bytes: int = SHARD_BYTES, store: str = "") -> dict[str, Any]:
    """Write the mixture to ``out``: shards, which go on into a ``store`` where one is named, and ``stats.json``; the
    folder's lineage.

    Raises ``ConfigError`` where none is named, ``LineageError`` for a source that is not ingested, ``MixtureError`` for
    one that the filters empty.
    """
    folders = {name: Path(mixed.folder) for name, mixed in sorted(config.sources.items())}
    if not folders:
        raise ConfigError("mixture.sources is empty; name the ingested folders to mix")

    def body(folder: Path) -> dict[str, Any]:
        if store:
            check(store)
        plans, left_out = {}, {}
        for name, source in folders.items():
            plans[name], left_out[name] = _surveyed(name, source, config)
        taken = _taken(plans, config)
        counts = Counts()
        with ShardWriter(folder, shard_bytes=shard_bytes) as writer:
            for name, source in folders.items():
                for trajectory in _placed(source, plans[name], taken[name]):
                    writer.add(trajectory)
                    counts.add(trajectory)
        stats = counts.to_dict()
        stats["mixture"] = {
            name: {"taken": dict(Counter(taken[name].values())), "left out": dict(left_out[name])} for name in folders
        }
        write_json(folder / STATS, stats)
        if store:
            upload(folder, shards(folder), store)
        return {"trajectories": stats["trajectories"], "steps": stats["steps"]}

    return run_step(out=out, body=body, **recipe(config, shard_bytes, store))


def recipe(config: MixtureConfig, shard_bytes: int = SHARD_BYTES, store: str = "") -> dict[str, Any]:
    """What the digest of a mixture is made of, as ``run_step`` takes it."""
    return {
        "name": "mixture",
        # Where a folder is does not matter; what it contains does, and that is hashed as an input.
        "config": {
            **config.model_dump(mode="json", exclude={"sources": {"__all__": {"folder"}}}),
            "bytes": shard_bytes,
            **({"store": store} if store else {}),  # mixtures from before there were stores stay what they are
        },
        "inputs": {name: Path(source.folder) for name, source in config.sources.items()},
        "module": __name__,
        "seed": config.seed,
    }


def _uniform(seed: int, purpose: str, id: str) -> float:
    """A number in [0, 1) that follows from seed and id."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _surveyed(name: str, folder: Path, config: MixtureConfig) -> tuple[dict[str, str], Counter[str]]:
    """The split of every trajectory that the filters leave, and why the others were left out."""
    read_lineage(folder)
    left: dict[str, str] = {}
    out: Counter[str] = Counter()
    columns = ["image", "elements", "observation"] if config.no_redundant_steps else []
    held_out = config.sources[name].held_out
    for trajectory in read(folder, columns=columns):
        reason = reason_against(trajectory, config) if trajectory.split == "train" else None
        if reason:
            out[reason] += 1
        elif trajectory.split == "train" and _uniform(config.seed, "held out", trajectory.id) < held_out:
            left[trajectory.id] = "heldout"
        else:
            left[trajectory.id] = trajectory.split
    if "train" not in left.values():
        raise MixtureError(f"{folder} ({name}) gives no training trajectory; left out: {dict(out)}; loosen the filters")
    return left, out


def _taken(plans: Mapping[str, dict[str, str]], config: MixtureConfig) -> dict[str, dict[str, str]]:
    """What is taken of each source: all of its other splits, and as many training trajectories as its weight allows."""
    available = {}
    for name, plan in plans.items():
        count = sum(split == "train" for split in plan.values())
        cap = config.sources[name].cap
        available[name] = count if cap is None else min(count, cap)
    # The size at which no source has to give more than it has.
    weights = {name: config.sources[name].weight for name in plans}
    size = min(available[name] / weights[name] for name in plans)
    found = {}
    for name, plan in plans.items():
        wanted = available[name] if config.balance == "all" else max(1, round(size * weights[name]))
        train = sorted(
            (id for id, split in plan.items() if split == "train"), key=lambda id: _uniform(config.seed, "take", id)
        )
        chosen = set(train[:wanted])
        found[name] = {id: split for id, split in plan.items() if split != "train" or id in chosen}
    return found


def _placed(folder: Path, plan: Mapping[str, str], taken: Mapping[str, str]) -> Iterator[Trajectory]:
    """The trajectories that are taken, in their folder's order, in the split that the plan gives them."""
    for trajectory in read(folder):
        if trajectory.id in taken:
            yield replace(trajectory, split=plan[trajectory.id])
