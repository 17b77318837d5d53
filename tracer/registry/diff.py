"""What two registered versions have otherwise, from the registry alone: data, settings, code, libraries, scores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.evaluation.online import ONLINE_METRICS
from tracer.evaluation.results import Row, difference, interval, read_rows
from tracer.evaluation.scoring import METRICS
from tracer.json_files import flatten, read_json
from tracer.lineage import why
from tracer.lineage.digest import LineageError
from tracer.registry import promotion, rebuild, rebuildable, tracking, versions
from tracer.registry.episodes import Change, changes
from tracer.registry.settings import RegistryConfig
from tracer.statistics import Interval
from tracer.training.replay import EPISODES

RESAMPLES = 2000
GROUPS = {"evaluate": ("split", tuple(METRICS)), "online": ("strategy", ONLINE_METRICS)}
"""By what an evaluation's rows are grouped, and their metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric of both versions, with 95 % intervals."""

    evaluation: str
    group: str
    """The split, or online the agent."""
    metric: str
    then: Interval | None
    now: Interval | None
    difference: Interval | None
    """Of now - then, paired by case; None where the two were not evaluated on the same cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two versions beside each other. Pairs are (then, now); what is the same is not listed."""

    then: str
    now: str
    data: tuple[str | None, str | None]
    """The md5s of the pinned data."""
    episodes: tuple[Change, ...]
    settings: Mapping[str, tuple[Any, Any]]
    commits: tuple[str | None, str | None]
    code: Mapping[str, tuple[Any, Any]]
    """Modules and data files of any step, by name: digests."""
    libraries: Mapping[str, tuple[Any, Any]]
    scores: tuple[Score, ...]


def diff(then: str, now: str, config: RegistryConfig) -> Difference:
    """Compare two registered versions; raises ``RegistryError``."""
    found = [versions.version_of(each, config) for each in (then, now)]
    made = [rebuild.document_of(each.uri, config) for each in found]
    listed = [read_json(versions.download(each.uri, config) / "artifacts" / EPISODES) for each in found]
    return Difference(
        then=found[0].uri,
        now=found[1].uri,
        data=(made[0]["data"]["md5"], made[1]["data"]["md5"]),
        episodes=tuple(changes(*listed)),
        settings=_changes(*(flatten(each["config"]) for each in made)),
        commits=(made[0]["commit"], made[1]["commit"]),
        code=_changes(*(_parts(each, "modules") | _parts(each, "files") for each in made)),
        libraries=_changes(*(_libraries(each) for each in made)),
        scores=tuple(_scores(found[0], found[1], config)),
    )


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (None if old is why.NOTHING else old, None if new is why.NOTHING else new)
        for name, (old, new) in why.changes(then, now)
    }


def _parts(made: Mapping[str, Any], part: str) -> dict[str, str]:
    return {name: digest for step in made["steps"].values() for name, digest in step["code"][part].items()}


def _libraries(made: Mapping[str, Any]) -> dict[str, str]:
    """Those that count into the steps' digests, at their whole versions where these were noted."""
    return _parts(made, "libraries") | {
        name: v for step in made["steps"].values() for name, v in step["versions"].items()
    }


def _scores(then: versions.Version, now: versions.Version, config: RegistryConfig) -> Iterator[Score]:
    client = tracking.connect(config)
    with tempfile.TemporaryDirectory() as temporary:
        old, new = (
            promotion.download_evaluations(client, version, Path(temporary) / str(number))
            for number, version in enumerate((then, now))
        )
        for evaluation, (by, metrics) in GROUPS.items():
            sides = [read_rows(side[evaluation]) if evaluation in side else [] for side in (old, new)]
            for group in dict.fromkeys(row[by] for rows in sides for row in rows):
                before, after = ([row for row in rows if row[by] == group] for rows in sides)
                for metric in metrics:
                    yield _score(evaluation, group, metric, before, after)


def _score(evaluation: str, group: str, metric: str, before: Sequence[Row], after: Sequence[Row]) -> Score:
    then, now = (_interval(rows, metric) for rows in (before, after))
    try:
        gain = difference(after, before, metric, RESAMPLES) if then and now else None
    except LineageError:  # not the same cases
        gain = None
    return Score(evaluation=evaluation, group=group, metric=metric, then=then, now=now, difference=gain)


def _interval(rows: Sequence[Row], metric: str) -> Interval | None:
    return interval(rows, metric, RESAMPLES) if rows and all(metric in row for row in rows) else None


def describe(found: Difference) -> Iterator[str]:
    """A difference in words, line by line."""
    yield f"{found.then} -> {found.now}"
    yield "data: " + ("the same" if found.data[0] == found.data[1] else f"md5 {found.data[0]} -> {found.data[1]}")
    for page in found.episodes:
        for sign, names in (("+", page.added), ("-", page.removed), ("changed", page.changed)):
            if names:
                yield f"  {page.source}, {page.page}: {sign} {len(names)} ({rebuildable.listed(names)})"
    yield f"code: commit {found.commits[0]} -> {found.commits[1]}"
    yield from (f"  {name}: {why.shown(old)} -> {why.shown(new)}" for name, (old, new) in found.code.items())
    for title, pairs in (("settings", found.settings), ("libraries", found.libraries)):
        yield f"{title}:{'' if pairs else ' the same'}"
        yield from (f"  {name}: {why.shown(old)} -> {why.shown(new)}" for name, (old, new) in pairs.items())
    yield "scores, with 95 % intervals:"
    for score in found.scores:
        sides = f"{_shown(score.then)} -> {_shown(score.now)}"
        yield f"  {score.evaluation} {score.group} {score.metric}: {sides}, difference {_shown(score.difference, '+')}"


def _shown(found: Interval | None, sign: str = "") -> str:
    if found is None or found.mean is None:
        return "not known"
    return f"{found.mean:{sign}.4g} [{found.low:{sign}.4g}, {found.high:{sign}.4g}]"
