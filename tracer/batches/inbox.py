"""The watched inbox: what arrived, and where it goes once it is decided on.

An arrival is a folder right in the inbox, which is itself a folder, or a prefix in S3 (``bucket``). Decided on, it
moves to ``accepted/<batch>/`` or ``refused/<batch>/`` there, beside its report. Arrivals from elsewhere stay where they
are, and leave the report alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracer.batches import bucket
from tracer.batches import verdict as verdicts
from tracer.batches.verdict import PICTURE, REPORT, Verdict
from tracer.config import Config
from tracer.ingestion.parts import fingerprint
from tracer.lineage.digest import digest_of

ACCEPTED, REFUSED = "accepted", "refused"


def arrivals(config: Config) -> list[str]:
    """The folders that wait in the inbox, by name; hidden ones are none of it."""
    inbox = config.batches.inbox
    if bucket.is_remote(inbox):
        found = bucket.folders(inbox)
    else:
        found = sorted(str(path) for path in Path(inbox).glob("*") if path.is_dir())
    names = {path: path.rpartition("/")[2] for path in found}
    return [path for path, name in names.items() if name not in (ACCEPTED, REFUSED) and name[0] != "."]


def waits(arrival: str) -> bool:
    """Whether an arrival is still where it was."""
    return bool(bucket.listing(arrival)) if bucket.is_remote(arrival) else Path(arrival).is_dir()


def looks(arrival: str) -> str:
    """What changes while an arrival is still being written."""
    return digest_of(bucket.listing(arrival)) if bucket.is_remote(arrival) else fingerprint(Path(arrival))


def place(config: Config, batch: str, accepted: bool) -> str:
    """Where the report on an arrival is, and the arrival itself if it was in the inbox."""
    return f"{config.batches.inbox.rstrip('/')}/{ACCEPTED if accepted else REFUSED}/{batch}"


def put_away(config: Config, arrival: str, verdict: Verdict, work: Path, objects: Mapping[str, str]) -> None:
    """Put the report on an arrival, from ``work``, into the inbox; move the arrival, if it is in the inbox, beside it.

    ``objects`` are those of an arrival in a bucket, as they were fetched.
    """
    if bucket.is_remote(config.batches.inbox):
        _put_away_remotely(config, arrival, verdict, work, dict(objects))
        return
    inbox, target = Path(config.batches.inbox), Path(place(config, verdict.batch, verdict.accepted))
    other = Path(place(config, verdict.batch, not verdict.accepted))
    target.mkdir(parents=True, exist_ok=True)
    for name in (REPORT, PICTURE):
        kept = verdict.known and name == REPORT and (target / REPORT).is_file()
        if (work / name).is_file() and not kept:
            shutil.copyfile(work / name, target / name)
    path = Path(arrival)
    if path.resolve().is_relative_to(inbox.resolve()) and path.resolve().parent != target.resolve():
        if (target / path.name).exists():  # the same files arrived again
            shutil.rmtree(path)
        else:
            os.rename(path, target / path.name)
    if other.is_dir() and not any(each.is_dir() for each in other.iterdir()):
        shutil.rmtree(other)  # it was refused before, and is accepted now


def _put_away_remotely(config: Config, arrival: str, verdict: Verdict, work: Path, objects: dict[str, str]) -> None:
    inbox, target = config.batches.inbox.rstrip("/"), place(config, verdict.batch, verdict.accepted)
    other = place(config, verdict.batch, not verdict.accepted)
    known = verdict.known and bucket.has(target, REPORT)
    bucket.put([work / name for name in (REPORT, PICTURE) if not (known and name == REPORT)], target)
    parent, _, name = arrival.rstrip("/").rpartition("/")
    if arrival.startswith(f"{inbox}/") and parent != target:
        bucket.move(inbox, arrival, objects, f"{target}/{name}")
    left = bucket.listing(other)
    if left and not left.keys() - {REPORT, PICTURE}:
        bucket.remove(other)  # it was refused before, and is accepted now


def reports(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every report in the inbox with its folder, refused ones first."""
    for name in (REFUSED, ACCEPTED):
        folder = f"{config.batches.inbox.rstrip('/')}/{name}"
        if bucket.is_remote(folder):
            yield from ((each, bucket.read(f"{each}/{REPORT}")) for each in bucket.reports(folder, REPORT))
        else:
            found = sorted(path.parent for path in Path(folder).glob(f"*/{REPORT}"))
            yield from ((str(each), verdicts.read(each)) for each in found)
