"""Ingestion in parts: a source's files, or ranges of them, side by side, each of them resumable alone.

A part is ingested into a folder of its own under ``<out>/.parts``. Killed, it continues behind its finished shards
without writing them again; failed, it fails alone. When all parts are there, tracer/ingestion/assembly.py joins them.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml

from tracer import plugins
from tracer.dataset import SHARD_BYTES, ShardWriter, shards
from tracer.ingestion.counts import STATS, Counts, Item
from tracer.ingestion.progress import bar as _bar
from tracer.ingestion.quarantine import QUARANTINE, QuarantineWriter
from tracer.json_files import write_json
from tracer.lineage.code import code_digest
from tracer.lineage.digest import digest_of
from tracer.sources.source import Rejected, SourceError, source
from tracer.trajectory import Trajectory

PARTS = ".parts"
STARTED = "logs/part.json"  # in a folder that no digest counts: it holds the times of the source's files
WHOLE = "all"
REPORT_SECONDS = 0.5
Report = Callable[[int], None]
"""Called with the number of steps ingested since the last call."""


@runtime_checkable
class Cached(Protocol):
    """A function of functools.lru_cache."""

    def cache_clear(self) -> None:
        """Forget what is cached."""


class PartsError(RuntimeError):
    """Some parts failed; the message names them and why. The others are finished and stay."""


def parts_of(name: str, path: Path) -> list[str]:
    """The parts that a source is ingested in, named so that they can name a folder; raises ``SourceError``."""
    found = getattr(source(name), "parts", None)
    return [WHOLE] if found is None else found(path)


def checked_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an adapter's ``read``; raises ``SourceError`` for one that it does not have."""
    known = [key for key in inspect.signature(source(name).read).parameters if key not in ("path", "part")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise SourceError(f"source {name!r} has no option {', '.join(unknown)}; it has: {', '.join(known) or 'none'}")
    return dict(options)


def parsed_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options written ``key=value``, the value in YAML; raises ``SourceError``."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise SourceError(f"an option is written key=value, not {text!r}")
        found[key] = yaml.safe_load(value)
    return found


def ingest_part(
    name: str,
    path: Path,
    part: str,
    folder: Path,
    *,
    options: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
    report: Report = lambda steps: None,
    files: str | None = None,
) -> dict[str, Any]:
    """Ingest one part into ``folder``; its statistics. A finished part is used as it is, a begun one is gone on with.

    A part that was begun from other files, other options or by other code is started again. ``files`` is the source's
    ``fingerprint``, where the caller has just taken it. Raises ``SourceError``.
    """
    if files is None:
        forget()
    settings = {
        "source": name,
        "part": part,
        "options": dict(options or {}),
        "shard_bytes": shard_bytes,
        "files": files or fingerprint(path),
        "code": code_digest(__name__, [plugins.module_of(plugins.SOURCES, name)]),
    }
    started = folder / STARTED
    if folder.exists() and (not started.is_file() or json.loads(started.read_text()) != settings):
        shutil.rmtree(folder)
    if (folder / STATS).is_file():
        return json.loads((folder / STATS).read_text())
    started.parent.mkdir(parents=True, exist_ok=True)
    write_json(started, settings)
    arguments = {**({} if part == WHOLE else {"part": part}), **(options or {})}
    counts, reported, last = Counts(), 0, time.monotonic()
    with ResumedWriter(folder, shard_bytes=shard_bytes) as writer, QuarantineWriter(folder / QUARANTINE) as quarantine:
        for item in unique(source(name).read(path, **arguments)):
            counts.add(item)
            if isinstance(item, Rejected):
                quarantine.add(item)
                continue
            writer.add(item)
            reported += len(item.steps)
            if time.monotonic() - last > REPORT_SECONDS:
                report(reported)
                reported, last = 0, time.monotonic()
    report(reported)
    stats = counts.to_dict()
    write_json(folder / STATS, stats)  # last: a part that has it is finished
    return stats


class ResumedWriter(ShardWriter):
    """Goes on behind the finished shards of a folder: what they hold is not written again.

    It relies on the source's fixed order: the trajectories of a split come as they came before the interruption.
    """

    def __enter__(self) -> ResumedWriter:
        super().__enter__()
        self._held: Counter[str] = Counter()
        for part in self.out.glob(".*.parquet.part"):
            part.unlink()
        finished = shards(self.out) if any(self.out.glob("*-*.parquet")) else []
        for shard in finished:
            split = shard.name.partition("-")[0]
            self._held[split] += len(trajectory_ids(shard))
            self._numbers[split] = self._numbers.get(split, -1) + 1
            self.paths.append(shard)
        return self

    def add(self, trajectory: Trajectory) -> None:
        """Append a trajectory, unless a killed run has already written it."""
        if self._held[trajectory.split]:
            self._held[trajectory.split] -= 1
        else:
            super().add(trajectory)


def trajectory_ids(shard: Path) -> list[str]:
    """The ids of a shard's trajectories, in order."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(shard, columns=["trajectory_id", "step"])
    return table.filter(pc.equal(table["step"], 0))["trajectory_id"].to_pylist()


def unique(found: Iterable[Item]) -> Iterator[Item]:
    """The items, a repeated trajectory id rejected."""
    seen: set[str] = set()
    for item in found:
        if isinstance(item, Trajectory) and item.id in seen:
            yield duplicate(item)
        else:
            if isinstance(item, Trajectory):
                seen.add(item.id)
            yield item


def duplicate(item: Trajectory) -> Rejected:
    """A trajectory whose id another one has."""
    return Rejected(
        source=item.source,
        file="",
        row=0,
        id=item.id,
        reason="duplicate id",
        detail=f"{item.id!r} came before",
        fix="keep one of the records, or give them ids of their own",
    )


def forget() -> None:
    """Forget what the adapters keep of a source (splits, directories of archives): it may have changed since."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tracer.sources."):
            for value in list(vars(module).values()):
                if isinstance(value, Cached):
                    value.cache_clear()


def fingerprint(path: Path) -> str:
    """A digest of the names, sizes and times of a source's files: quick, where hashing 200 GB is not."""
    files = [path] if path.is_file() else [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    listing = {file.relative_to(path).as_posix(): (s.st_size, s.st_mtime_ns) for file in files if (s := file.stat())}
    return digest_of(dict(sorted(listing.items())))


def ingest_parts(
    name: str,
    path: Path,
    out: Path,
    *,
    options: Mapping[str, Any] | None = None,
    workers: int = 1,
    shard_bytes: int = SHARD_BYTES,
    progress: bool = False,
) -> list[Path]:
    """Ingest every part of a source under ``<out>/.parts``, ``workers`` at a time; the parts' folders, in order.

    ``progress`` draws a bar with steps per second and the time left. Raises ``PartsError`` after all parts were tried.
    """
    options = checked_options(name, options or {})
    forget()
    files = fingerprint(path)
    names = parts_of(name, path)
    folders = {part: out / PARTS / part for part in names}
    failures: dict[str, str] = {}
    with _bar(name, len(names), progress) as bar:
        for part, error in _run(
            _Work(name, path, options, shard_bytes, files), folders, min(workers, len(names)), bar.steps
        ):
            if error:
                failures[part] = error
            bar.finished()
    if failures:
        lines = "\n".join(f"  {part}: {error}" for part, error in sorted(failures.items()))
        raise PartsError(
            f"{len(failures)} of {len(names)} parts of {name} failed; the same command tries them alone again:\n{lines}"
        )
    return list(folders.values())


def _run(work: _Work, folders: Mapping[str, Path], workers: int, report: Report) -> Iterator[tuple[str, str]]:
    """Each part and its error, or "", as they finish."""
    if workers <= 1:
        for part, folder in folders.items():
            yield part, work.attempt(part, folder, report)
        return
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Forking a process in which Arrow has threads can hang; a fresh interpreter cannot.
    context = get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, context) as pool:
        queue = manager.Queue()
        try:
            futures = {pool.submit(work.attempt, part, folder, queue.put): part for part, folder in folders.items()}
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=REPORT_SECONDS, return_when=FIRST_COMPLETED)
                while not queue.empty():
                    report(queue.get())
                yield from ((futures[future], future.result()) for future in done)
        except BrokenProcessPool as error:
            raise PartsError("a worker was ended, as for lack of memory; run again, with fewer workers") from error
        finally:
            pool.shutdown(cancel_futures=True)  # after an interruption, parts that wait are not begun


@dataclass(frozen=True, slots=True)
class _Work:
    """What the parts of one ingestion share."""

    name: str
    path: Path
    options: Mapping[str, Any]
    shard_bytes: int
    files: str

    def attempt(self, part: str, folder: Path, report: Report) -> str:
        """Ingest one part; its error, or ""."""
        try:
            ingest_part(
                self.name,
                self.path,
                part,
                folder,
                options=self.options,
                shard_bytes=self.shard_bytes,
                report=report,
                files=self.files,
            )
        except (SourceError, OSError) as error:
            return str(error)
        return ""
