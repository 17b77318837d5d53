"""What passes from a source to the shards: trajectories, and records that were rejected."""

from __future__ import annotations

import inspect
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tracer import plugins
from tracer.dataset import ShardWriter
from tracer.ingestion.counts import STATS, Counts, Item
from tracer.ingestion.quarantine import QUARANTINE, QuarantineWriter
from tracer.ingestion.settings import DataConfig
from tracer.json_files import write_json
from tracer.sources.boundary import Origin
from tracer.sources.source import OptionError, Rejected, SourceError, source
from tracer.trajectory import Trajectory

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.5
Report = Callable[[int], None]
"""Called with the number of steps ingested since the last call."""


def write(found: Iterable[Item], writer: ShardWriter) -> dict[str, Any]:
    """Write the shards, the quarantine and the statistics of everything found; the statistics."""
    counts = Counts()
    with writer as shards, QuarantineWriter(writer.out / QUARANTINE) as quarantine:
        for item in found:
            counts.add(item)
            if isinstance(item, Trajectory):
                shards.add(item)
            else:
                quarantine.add(item)
    stats = counts.to_dict()
    write_json(writer.out / STATS, stats)  # last: a folder that has it is finished
    return stats


def items(data: DataConfig, part: str | None = None) -> Iterator[Item]:
    """What a source, or one part of it, gives: trajectories that shards can hold, and rejected records.

    Ingesting and checking read through here. Raises ``SourceError``.
    """
    check_options(data.source, data.options)
    arguments = data.options if part is None else {**data.options, "part": part}
    found = source(data.source).read(Path(data.path), **arguments)
    if not plugins.module_of(plugins.SOURCES, data.source).startswith("tracer."):
        found = admitted(data.source, found)
    return unique(sound(data.source, found))


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise ``OptionError`` for an option that the adapter's ``read`` does not have, or a value that is none of its."""
    read = source(name).read
    try:
        parameters = inspect.signature(read, eval_str=True).parameters
    except NameError:  # an adapter of someone else's that imports its types for a type checker alone
        parameters = inspect.signature(read).parameters
    known = [key for key in parameters if key not in ("path", "part")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError(f"source {name!r} has no option {', '.join(unknown)}; it has: {', '.join(known) or 'none'}")
    for key, value in options.items():
        annotation = parameters[key].annotation
        kind = Any if annotation is inspect.Parameter.empty or isinstance(annotation, str) else annotation
        try:
            TypeAdapter(kind).validate_python(value, strict=True)
        except ValidationError as error:
            wrong = f"option {key} of source {name!r} is {value!r:.80}"
            raise OptionError(f"{wrong}: {error.errors()[0]['msg']}; write {key}=VALUE with another value") from error


def admitted(name: str, found: Iterable[Item]) -> Iterator[Item]:
    """The items, a trajectory that shards cannot hold rejected: an adapter of someone else's need not have looked.

    Ours have: they read each record through ``Origin.read``.
    """
    for item in found:
        if isinstance(item, Trajectory):
            yield Origin(source=name, file="", row=0, id=str(item.id)).read(partial(_same, item))
        else:
            yield item


def _same(item: Trajectory, _: Origin) -> Trajectory:
    return item


def sound(name: str, found: Iterable[Item]) -> Iterator[Item]:
    """The items; raises ``SourceError`` for an adapter that dies between two records."""
    try:
        yield from found
    except (SourceError, OSError):
        raise
    except Exception as error:
        log.exception("a defect of the adapter %s", name)
        detail = f"{name}: {type(error).__name__}: {error}"
        raise SourceError(f"{detail}; a defect of the adapter: report it, with the traceback in the log") from error


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


def limited(found: Iterable[Item], limit: int) -> Iterator[Item]:
    """At most ``limit`` trajectories per task and split, the first ones; every rejected record stays."""
    taken: Counter[tuple[str, str]] = Counter()
    for item in found:
        if isinstance(item, Trajectory):
            taken[item.split, item.task] += 1
            if taken[item.split, item.task] > limit:
                continue
        yield item


def reported(found: Iterable[Item], report: Report) -> Iterator[Item]:
    """The items, their steps reported twice a second and at the end."""
    steps, last = 0, time.monotonic()
    for item in found:
        yield item
        steps += len(item.steps) if isinstance(item, Trajectory) else 0
        if time.monotonic() - last > REPORT_SECONDS:
            report(steps)
            steps, last = 0, time.monotonic()
    report(steps)
