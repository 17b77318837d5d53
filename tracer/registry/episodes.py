"""Which episodes a version was made of: a list that travels with it, so that two versions can be told apart by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tracer.dataset import content, read

Listed = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Source -> page -> episode -> digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one page of one source has otherwise."""

    source: str
    page: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    """Episodes that kept their id, and not what they contain."""


def listed(trajectories: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The episodes of a folder of shards; raises ``DatasetError``."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for each in read(trajectories):
        found.setdefault(each.source, {}).setdefault(each.task, {})[each.id] = content(each)
    return found


def changes(then: Listed, now: Listed) -> Iterator[Change]:
    """The pages of which episodes came, went or were changed."""
    for source in sorted({*then, *now}):
        before, after = then.get(source, {}), now.get(source, {})
        for page in sorted({*before, *after}):
            old, new = before.get(page, {}), after.get(page, {})
            change = Change(
                source=source,
                page=page,
                added=tuple(sorted(new.keys() - old.keys())),
                removed=tuple(sorted(old.keys() - new.keys())),
                changed=tuple(sorted(name for name in old.keys() & new.keys() if old[name] != new[name])),
            )
            if change.added or change.removed or change.changed:
                yield change
