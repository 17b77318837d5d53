"""The watched inbox: what arrived, and where it goes once it is decided on.

An arrival is a folder right in the inbox. Decided on, it moves to ``accepted/<batch>/`` or ``refused/<batch>/``
there, beside its report. Arrivals from elsewhere stay where they are, and leave the report alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracer.batches import verdict as verdicts
from tracer.batches.verdict import Verdict
from tracer.config import Config

ACCEPTED, REFUSED = "accepted", "refused"


def arrivals(config: Config) -> list[Path]:
    """The folders that wait in the inbox, by name; hidden ones are none of it."""
    inbox = Path(config.batches.inbox)
    found = inbox.iterdir() if inbox.is_dir() else ()
    return sorted(
        path for path in found if path.is_dir() and path.name not in (ACCEPTED, REFUSED) and path.name[0] != "."
    )


def place(config: Config, verdict: Verdict) -> Path:
    """Where the report on an arrival is, and the arrival itself if it was in the inbox."""
    return Path(config.batches.inbox) / (ACCEPTED if verdict.accepted else REFUSED) / verdict.batch


def put_away(config: Config, arrival: Path, verdict: Verdict, work: Path) -> None:
    """Write the report on an arrival and move it, if it is in the inbox, beside it."""
    inbox, target = Path(config.batches.inbox), place(config, verdict)
    other = inbox / (REFUSED if verdict.accepted else ACCEPTED) / verdict.batch
    if not (verdict.known and (target / verdicts.REPORT).is_file()):
        verdicts.write(verdict, target)
    if (work / verdicts.PICTURE).is_file():
        shutil.copyfile(work / verdicts.PICTURE, target / verdicts.PICTURE)
    if arrival.resolve().is_relative_to(inbox.resolve()) and arrival.resolve().parent != target.resolve():
        if (target / arrival.name).exists():  # the same files arrived again
            shutil.rmtree(arrival)
        else:
            os.rename(arrival, target / arrival.name)
    if other.is_dir() and not any(path.is_dir() for path in other.iterdir()):
        shutil.rmtree(other)  # it was refused before, and is accepted now


def reports(config: Config) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every report in the inbox with its folder, refused ones first."""
    for name in (REFUSED, ACCEPTED):
        for path in sorted(Path(config.batches.inbox).glob(f"{name}/*/{verdicts.REPORT}")):
            yield path.parent, verdicts.read(path.parent)
