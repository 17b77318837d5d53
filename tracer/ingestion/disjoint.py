"""Makes the splits of a recording disjoint: no state of an earlier split stays in a later one.

A page with few variants shows the same goal and screen at several seeds, some for training and some for the test. A
score on a state that was trained on shows nothing, and validation closes its gate on one; the recorder's last step is
to drop the later split's episode.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Collection
from pathlib import Path

from tracer import json_lines
from tracer.examples import state_digest
from tracer.sources.jsonl import read
from tracer.sources.source import Rejected, SourceError
from tracer.trajectory import SPLITS, state_at


def overlaps(folder: Path) -> dict[str, str]:
    """The episodes of later splits that share a state with an earlier one, each with the id it shares it with.

    Raises ``SourceError`` for a record that cannot be read.
    """
    found: dict[str, str] = {}
    seen: dict[str, str] = {}
    for split in SPLITS:
        if not (folder / split).is_dir():
            continue
        own: dict[str, str] = {}
        for episode in read(folder / split):
            if isinstance(episode, Rejected):
                raise SourceError(f"{folder / split}: {episode}")
            states = [state_digest(state_at(episode, index)) for index in range(len(episode.steps))]
            shared = next((seen[state] for state in states if state in seen), None)
            if shared is not None:
                found[episode.id] = shared
            else:  # what is dropped keeps nothing else out
                own |= dict.fromkeys(states, episode.id)
        seen |= own
    return found


def make_disjoint(folder: Path) -> dict[str, str]:
    """Drop the overlapping episodes, and their pictures, from the files of a recording; returns what was dropped."""
    dropped = overlaps(folder)
    for path in sorted(folder.rglob("*.jsonl")):
        episodes = json_lines.read(path)
        kept = [episode for episode in episodes if episode["id"] not in dropped]
        if len(kept) < len(episodes):
            _keep(path.with_suffix(".tar"), {step["image"] for episode in kept for step in episode["steps"]})
            json_lines.write(path, kept)
    return dropped


def _keep(path: Path, names: Collection[str]) -> None:
    """Rewrite an archive with the named members only, in their order and with their headers."""
    part = path.with_name(f".{path.name}.part")
    with tarfile.open(path) as archive, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as rewritten:
        for member in archive:
            if member.name in names:
                rewritten.addfile(member, archive.extractfile(member))
    os.replace(part, path)
