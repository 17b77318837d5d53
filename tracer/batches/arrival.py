"""New data arrives: it is judged on its own, and then becomes a batch of the data, or is refused.

    read with its adapter -> Great Expectations -> what of it is new -> drift -> one commit, or ``refused/``

Everything before the commit is found again after a kill, by digest; the commit itself is completed by the next command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer import plugins
from tracer.batches import bucket, drift, inbox, store
from tracer.batches import verdict as verdicts
from tracer.batches.drift import Shift, Traits
from tracer.batches.novelty import Known, new
from tracer.batches.verdict import PICTURE, Verdict
from tracer.config import Config
from tracer.dataset import read
from tracer.finding import Finding
from tracer.ingestion.counts import STATS
from tracer.ingestion.ingest import ingest_source
from tracer.ingestion.parts import PartsError
from tracer.ingestion.settings import DataConfig
from tracer.json_files import read_json
from tracer.lineage.digest import LineageError, content_digest
from tracer.lineage.pins import dvc, pinned_md5
from tracer.lineage.step import locked
from tracer.planner import hub
from tracer.registry import gc, rebuild, record
from tracer.settings import ConfigError
from tracer.sources.source import SourceError
from tracer.trajectory import Trajectory
from tracer.validation import validate

DIGITS = 12
OF_THE_WHOLE = {"there is training and test data"}
"""Expectations that the whole data has to meet, and a batch need not."""


def add(
    config: Config,
    arrived: str | Path,
    source: str = "",
    options: Mapping[str, Any] | None = None,
    allow_drift: str = "",
) -> Verdict:
    """Judge new data, a folder or an address in S3, and add it to the data or refuse it; the verdict.

    ``source`` and ``options`` are the adapter's, by default those of ``config.batches``; ``allow_drift`` is why drift
    does not matter this time. Raises ``ConfigError`` for a path that is no folder, and ``LineageError`` where the data
    is not as pinned, or DVC or git fail: the same call then goes on from there.
    """
    place = str(arrived)
    if bucket.is_remote(place):
        finish(config)
    if not inbox.waits(place):
        raise ConfigError(f"{place} is no folder: give the folder that arrived, pictures included")
    if not source:
        source, options = config.batches.source, config.batches.options
    plugins.find(plugins.SOURCES, source)
    with store.changing():
        remote = bucket.is_remote(place)
        path, objects = bucket.fetched(place, _works(config) / "fetched") if remote else (Path(place), {})
        batch = content_digest(path)[:DIGITS]
        work = work_of(config, batch)
        data = DataConfig(source=source, path=str(path), options=dict(options or {}), pointer="")
        with locked(work):
            verdict = replace(_decided(config, batch, data, work, allow_drift), arrived=place)
            verdicts.write(verdict, work)
            inbox.put_away(config, place, verdict, work, objects)
        if remote:
            shutil.rmtree(path.parent)
    return verdict


def work_of(config: Config, batch: str) -> Path:
    """The folder in which a batch is judged, with the report on it."""
    return _works(config) / batch


def _works(config: Config) -> Path:
    return Path(config.build) / gc.BATCHES


def remove(config: Config, batch: str, reason: str) -> str:
    """Take an accepted batch out of the data; where the pin went. Raises what ``store.take_out`` raises."""
    with store.changing():
        return store.take_out(config, batch, f"data: remove batch {batch}\n\n{reason}")


def finish(config: Config) -> None:
    """Complete what a killed command left; raises ``LineageError``."""
    with store.changing():
        if bucket.is_remote(config.batches.inbox):
            bucket.finish(config.batches.inbox)


def _decided(config: Config, batch: str, data: DataConfig, work: Path, allow_drift: str) -> Verdict:
    known = {each["batch"]: each for each in store.accepted(config)}
    if batch in known:
        there = Finding("arrival", True, "the data has this batch already")
        verdict = Verdict(batch=batch, arrived=data.path, source=data.source, findings=(there,), known=True)
        return replace(verdict, splits=known[batch]["splits"])
    verdict = _judged(config, batch, data, work, allow_drift)
    return _put(config, verdict, work, allow_drift) if verdict.accepted else verdict


def _judged(config: Config, batch: str, data: DataConfig, work: Path, allow_drift: str) -> Verdict:
    verdict = Verdict(batch=batch, arrived=data.path, source=data.source, findings=())
    shards = work / "ingest"
    try:
        ingest_source(data, shards)
    except (SourceError, PartsError) as error:
        fix = "write it again, or name its adapter with --source"
        return replace(verdict, findings=(Finding("reading", False, str(error), fix),))
    novel, left_out = Known(store.present(config)), dict[str, str]()
    splits = dict[str, int]()
    for trajectory, why in new(read(shards), novel):
        if why:
            left_out[trajectory.id] = why
        else:
            splits[trajectory.split] = splits.get(trajectory.split, 0) + 1
    verdict = replace(verdict, splits=splits, left_out=left_out)
    findings = [*_validated(config, shards, work / "validate"), *_counted(config, verdict)]
    found: list[Shift] = []
    if splits:
        against, reference = _reference(config, work)
        ours = Traits.of(each for each in read(shards) if each.id not in left_out)
        theirs = Traits.of(reference)
        if theirs.numbers["goal_length"]:
            found = drift.shifts(ours, theirs, config.batches.drift)
            drift.picture(ours, theirs, found, work / PICTURE)
            findings += [_drift(shift, against, allow_drift) for shift in found]
    return replace(verdict, findings=tuple(findings), shifts=tuple(found))


def _validated(config: Config, shards: Path, out: Path) -> list[Finding]:
    """What Great Expectations found: one finding an expectation that is not met, or one that all are."""
    limits = config.data.model_copy(update={"max_quarantined": config.batches.max_quarantined})
    validate.validate(config.model_copy(update={"data": limits}), shards, hub.folder(config), out)
    results = read_json(out / validate.RESULTS, "results")["results"]
    unmet = [each for each in results if each["severity"] == "error" and not each["success"]]
    failed = [each for each in unmet if each["name"] not in OF_THE_WHOLE]
    met = Finding("validation", True, f"{len(results)} expectations; {out}")
    return [Finding(each["name"], False, validate.explain(each)) for each in failed] or [met]


def _counted(config: Config, verdict: Verdict) -> list[Finding]:
    limits, brought, repeated = config.batches, sum(verdict.splits.values()), len(verdict.left_out)
    share = repeated / max(1, brought + repeated)
    examples = "".join(f"; {id}: {why}" for id, why in list(verdict.left_out.items())[:1])
    return [
        Finding(
            "new episodes",
            brought >= limits.min_episodes,
            f"{brought}, and at least {limits.min_episodes} are asked for",
            "wait for more, or lower batches.min_episodes",
        ),
        Finding(
            "repeated episodes",
            share <= limits.max_repeated,
            f"{repeated} of {brought + repeated} are left out, at most {limits.max_repeated:.0%} may be{examples}",
            "leave out what was sent before, or raise batches.max_repeated",
        ),
    ]


def _drift(shift: Shift, against: str, allowed: str) -> Finding:
    name = shift.name.replace("_", " ")
    detail = f"{shift.distance:.2f} from {against}, at most {shift.limit:.2f}"
    if shift.drifted and allowed:
        return Finding(name, True, f"{detail}; allowed: {allowed}")
    fix = f"look at {PICTURE}; if it is meant to be so: --allow-drift WHY, or raise batches.drift.{shift.name}"
    return Finding(name, not shift.drifted, detail, fix)


def _reference(config: Config, work: Path) -> tuple[str, Iterable[Trajectory]]:
    """What the champion was trained on, in words and as it is; the present data while there is no champion."""
    made = _champion(config)
    if made is None:
        return "the present data (there is no champion)", store.present(config)
    md5, pointer = made["data"]["md5"], store.pointer_of(config)
    if pointer.is_file() and md5 == pinned_md5(pointer):
        return "the champion's data", store.present(config)
    fetched = work / f"champion-{md5}"
    part = fetched.with_suffix(".part")
    try:
        if not fetched.exists():
            shutil.rmtree(part, ignore_errors=True)
            rev = str(made["data"].get("commit") or made["commit"])
            dvc("get", "--quiet", "--rev", rev, "--out", str(part), ".", made["data"]["path"])
            os.rename(part, fetched)
    except LineageError as error:
        return f"the present data (the champion's cannot be fetched: {error})", store.present(config)
    return "the champion's data", store.readable(DataConfig(path=str(fetched), pointer=""))


def _champion(config: Config) -> dict[str, Any] | None:
    """What the champion says of its making; None where there is none."""
    uri = config.registry.tracking_uri
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        return None  # asking would make the database
    number = record.read(config.registry).champion
    return None if number is None else rebuild.document_of(f"{config.registry.model}/{number}", config.registry)


def _put(config: Config, verdict: Verdict, work: Path, allow_drift: str) -> Verdict:
    shards, episodes = work / "ingest", sum(verdict.splits.values())
    about = {
        "batch": verdict.batch,
        "source": verdict.source,
        "episodes": episodes,
        "splits": dict(verdict.splits),
        "quarantined": read_json(shards / STATS, "rejected")["rejected"]["total"],
        "left_out": len(verdict.left_out),
    }
    taken = (each for each in read(shards) if each.id not in verdict.left_out)
    message = f"data: add batch {verdict.batch}, {episodes} episodes of {verdict.source}\n\n{verdict}"
    return replace(verdict, pinned=store.put(config, about, taken, message))
