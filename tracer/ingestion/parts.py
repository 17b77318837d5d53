"""Ingestion in parts: a source's files, or ranges of them, side by side, each of them resumable alone.

A part is ingested into a folder of its own under ``<out>/.parts``. Killed, it continues behind its finished shards
without writing them again; failed, it fails alone. When all parts are there, tracer/ingestion/assembly.py joins them.
"""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tracer import plugins
from tracer.dataset import SHARD_BYTES, ShardWriter, shards
from tracer.ingestion.counts import STATS
from tracer.ingestion.items import REPORT_SECONDS, Report, check_options, items, reported, write
from tracer.ingestion.settings import DataConfig
from tracer.json_files import read_json, write_json
from tracer.lineage.code import code_digest
from tracer.lineage.digest import digest_of
from tracer.progress import bar
from tracer.sources.source import OptionError, SourceError, source
from tracer.trajectory import Trajectory
from tracer.workers import SPAWN, pool, starting

log = logging.getLogger(__name__)

PARTS = ".parts"
STARTED = "logs/part.json"  # in a folder that no digest counts: it holds the times of the source's files
WHOLE = "all"


class PartsError(RuntimeError):
    """Some parts failed; the message names them and why. The others are finished and stay."""


def parts_of(name: str, path: Path, options: Mapping[str, Any]) -> list[str]:
    """The parts that a source is ingested in, named so that they can name a folder; raises ``SourceError``."""
    found = getattr(source(name), "parts", None)
    if found is None:
        if not path.exists():
            raise SourceError(f"{path} does not exist; put the files of the source {name!r} there")
        return [WHOLE]
    taken = inspect.signature(found).parameters
    return found(path, **{key: value for key, value in options.items() if key in taken})


def parsed_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options written ``key=value``, the value in YAML; raises ``OptionError``."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise OptionError(f"an option is written key=value, not {text!r}")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise OptionError(f"the value of the option {text!r:.80} is not valid YAML: put it in quotes") from error
    return found


def ingest_part(
    data: DataConfig,
    part: str,
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    files: str | None = None,
    report: Report = lambda steps: None,
) -> dict[str, Any]:
    """Ingest one part into ``folder``; its statistics. A finished part is used as it is, an unfinished one is resumed.

    A part that was begun from other files, other options or by other code is started again. ``files`` is the source's
    ``fingerprint``, where the caller has just taken it. Raises ``SourceError``.
    """
    path = Path(data.path)
    if files is None:
        forget()
    settings = {
        "source": data.source,
        "part": part,
        "options": data.options,
        "shard_bytes": shard_bytes,
        "files": files or fingerprint(path),
        "code": code_digest(__name__, [plugins.module_of(plugins.SOURCES, data.source)]),
    }
    started = folder / STARTED
    if folder.exists() and (not started.is_file() or read_json(started) != settings):
        shutil.rmtree(folder)
    if (folder / STATS).is_file():
        return dict(read_json(folder / STATS))
    started.parent.mkdir(parents=True, exist_ok=True)
    write_json(started, settings)
    found = reported(items(data, None if part == WHOLE else part), report)
    return write(found, ResumedWriter(folder, shard_bytes=shard_bytes))


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
            self._held[split] += len(of_trajectories(shard, "trajectory_id"))
            self._numbers[split] = self._numbers.get(split, -1) + 1
            self.paths.append(shard)
        return self

    def add(self, trajectory: Trajectory) -> None:
        """Append a trajectory, unless a killed run has already written it."""
        if self._held[trajectory.split]:
            self._held[trajectory.split] -= 1
        else:
            super().add(trajectory)


def of_trajectories(shard: Path, column: str) -> list[Any]:
    """A column that all steps of a trajectory share, such as its id: a value for each trajectory, in order."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(shard, columns=[column, "step"])
    return table.filter(pc.equal(table["step"], 0))[column].to_pylist()


def forget() -> None:
    """Forget what the adapters keep of a source (splits, directories of archives): it may have changed since."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tracer.sources."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def fingerprint(path: Path) -> str:
    """A digest of the names, sizes and times of a source's files: quick, where hashing 200 GB is not."""
    files = [path] if path.is_file() else [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    listing = {file.relative_to(path).as_posix(): (s.st_size, s.st_mtime_ns) for file in files if (s := file.stat())}
    return digest_of(dict(sorted(listing.items())))


def ingest_parts(data: DataConfig, out: Path, *, shard_bytes: int = SHARD_BYTES, progress: bool = False) -> list[Path]:
    """Ingest every part of a source under ``<out>/.parts``, ``data.workers`` at a time; the parts' folders, in order.

    ``progress`` shows a bar with steps a second and the time left. Raises ``PartsError`` after all parts were tried.
    """
    check_options(data.source, data.options)
    forget()
    path = Path(data.path)
    attempt = partial(_attempt, data, shard_bytes, fingerprint(path))
    folders = {part: out / PARTS / part for part in parts_of(data.source, path, data.options)}
    failures: dict[str, str] = {}
    steps = 0
    with bar(data.source, len(folders), shown=progress) as shown:

        def count(more: int, parts: int = 0) -> None:
            nonlocal steps
            steps += more
            shown.advance(parts, f"{steps} steps, {steps / shown.seconds:.0f}/s")

        for part, error in _run(attempt, folders, min(data.workers, len(folders)), count):
            if error:
                failures[part] = error
            count(0, parts=1)
    if WHOLE in failures:
        raise SourceError(failures[WHOLE])
    if failures:
        lines = "\n".join(f"  {part}: {error}" for part, error in sorted(failures.items()))
        raise PartsError(
            f"{len(failures)} of {len(folders)} parts of {data.source} failed; the same command tries them alone "
            f"again:\n{lines}"
        )
    return list(folders.values())


Attempt = Callable[[str, Path, Report], str]


def _attempt(data: DataConfig, shard_bytes: int, files: str, part: str, folder: Path, report: Report) -> str:
    """Ingest one part; its error, or "". Whatever the error is, the other parts go on."""
    try:
        ingest_part(data, part, folder, shard_bytes=shard_bytes, files=files, report=report)
    except (SourceError, OSError) as error:
        return str(error)
    except Exception as error:
        log.exception("part %s of %s", part, data.source)
        return f"{type(error).__name__}: {error}; report it, with the traceback in the log"
    return ""


def _run(attempt: Attempt, folders: Mapping[str, Path], workers: int, report: Report) -> Iterator[tuple[str, str]]:
    """Each part and its error, or "", as they finish."""
    if workers <= 1:
        for part, folder in folders.items():
            yield part, attempt(part, folder, report)
        return
    with starting():
        manager = SPAWN.Manager()
    with manager, pool(workers) as processes:
        queue = manager.Queue()
        with starting():
            futures = {processes.submit(attempt, part, folder, queue.put): part for part, folder in folders.items()}
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=REPORT_SECONDS, return_when=FIRST_COMPLETED)
            while not queue.empty():
                report(queue.get())
            yield from ((futures[future], future.result()) for future in done)
