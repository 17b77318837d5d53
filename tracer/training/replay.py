"""Which episodes a stage trains on that goes on from a registered version: what is new to it, and a share of the old.

Without the old ones, training on a few new pages unlearns the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from tracer.config import Config
from tracer.dataset import content
from tracer.json_files import read_json
from tracer.lineage.digest import LineageError, digest_of
from tracer.trajectory import Trajectory

log = logging.getLogger(__name__)
EPISODES = "episodes.json"
"""In the folder of a version that training starts from: source -> page -> episode -> digest of its contents."""


def known_by(config: Config) -> Path | None:
    """The folder that lists what the start was made of; None where all of the data is trained on."""
    return None if config.retrain.from_ == "base" or config.retrain.replay == 1 else config.out("base")


def chosen(config: Config, trajectories: Iterable[Trajectory]) -> set[str] | None:
    """The ids of the episodes to train on, None for all; the same ones for the same seed.

    Raises ``LineageError`` if there are none.
    """
    start = known_by(config)
    if start is None:
        return None
    pages = (page for source in read_json(start / EPISODES).values() for page in source.values())
    known = {digest for page in pages for digest in page.values()}
    counts, ids = {"new": 0, "replayed": 0, "left out": 0}, set[str]()
    for each in trajectories:
        digest = content(each)
        drawn = int(digest_of([config.seed, digest])[:8], 16) < config.retrain.replay * 2**32
        what = "new" if digest not in known else "replayed" if drawn else "left out"
        counts[what] += 1
        if what != "left out":
            ids.add(each.id)
    log.info("episodes beside what %s was made of: %s", config.retrain.from_, counts)
    if not counts["new"] + counts["replayed"]:
        raise LineageError(
            f"no episode to train on: {config.retrain.from_} was made of all {counts['left out']}, and retrain.replay "
            f"takes none of them again; raise it"
        )
    return ids
