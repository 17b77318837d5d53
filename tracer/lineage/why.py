"""Why a step would run again: what differs between its finished folder and what it would be made of now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracer.json_files import flatten
from tracer.lineage.digest import begun, digest_of, finished, writer
from tracer.lineage.step import SCHEME, parts_of, set_aside

UP_TO_DATE, STALE, UNFINISHED, MISSING = "up to date", "stale", "unfinished", "not made yet"
NAMES = {"modules": "code of", "files": "file", "libraries": "version of"}
NOTHING = object()


def state_of(out: Path, recipe: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A step's state and the reasons for it, one per line.

    ``recipe`` is what ``lineage.step.run_step`` is given for the step. An unfinished folder is stale, too, if it was
    started for another digest. Raises ``LineageError`` for an input that is missing or unfinished.
    """
    done = finished(out)
    then = done or begun(out)
    process = None if done else writer(out)
    if process is not None:
        return UNFINISHED, [f"process {process} is making it now: wait until that has ended"]
    now = parts_of(**recipe)
    digest = digest_of(now)
    if then is not None and then["digest"] == digest:
        return (UP_TO_DATE, []) if done else (UNFINISHED, ["it was started, and will be resumed"])
    earlier = set_aside(out, digest)
    found = [f"the result for the present digest is in {earlier} and is taken from there"] if finished(earlier) else []
    if then is None:
        return MISSING, found
    if then.get("scheme", 1) != SCHEME:
        return STALE, [*found, f"its digest follows scheme {then.get('scheme', 1)}, and the current one is {SCHEME}"]
    inputs = {name: source["digest"] for name, source in then["inputs"].items()}
    return STALE, [*found, *differences({**then, "inputs": inputs}, json.loads(json.dumps(now)))]


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs between the parts of two digests (``lineage.step.parts_of``), one line each, old value and new."""
    for name in ("step", "seed"):
        if then[name] != now[name]:
            yield f"{name}: {then[name]} -> {now[name]}"
    for name, (old, new) in changes(flatten(then["config"]), flatten(now["config"])):
        yield f"setting {name}: {shown(old)} -> {shown(new)}"
    for name, (old, new) in changes(then["inputs"], now["inputs"]):
        yield f"input {name}: {shown(old)[:12]} -> {shown(new)[:12]}"
    for part, words in NAMES.items():
        for name, (old, new) in changes(then["code"][part], now["code"][part]):
            yield f"{words} {name}: {shown(old)} -> {shown(new)}"


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The keys whose values differ, with both values; ``NOTHING`` for a key that one side lacks."""
    for name in sorted(then.keys() | now.keys()):
        values = then.get(name, NOTHING), now.get(name, NOTHING)
        if values[0] != values[1]:
            yield name, values


def shown(value: Any) -> str:
    """A value as a line shows it; ``nothing`` for one that is not there."""
    return "nothing" if value is NOTHING else value if isinstance(value, str) else json.dumps(value)
