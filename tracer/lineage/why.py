"""Why a step would run again: what differs between its finished folder and what it would be made of now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracer.json_files import flatten
from tracer.lineage.digest import STARTED, finished
from tracer.lineage.step import SCHEME, parts_of

UP_TO_DATE, STALE, UNFINISHED, MISSING = "up to date", "stale", "unfinished", "not made yet"
NAMES = {"modules": "code of", "files": "file", "libraries": "version of"}


def state_of(out: Path, recipe: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A step's state and the reasons for it, one per line.

    ``recipe`` is what ``lineage.step.run_step`` is given for the step. Raises ``LineageError`` for an input that is
    missing or unfinished.
    """
    done = finished(out)
    if done is None:
        started = out / STARTED
        return (UNFINISHED, ["it was started, and will be resumed"]) if started.is_file() else (MISSING, [])
    if done.get("scheme", 1) != SCHEME:
        return STALE, [f"its digest follows scheme {done.get('scheme', 1)}, and the current one is {SCHEME}"]
    now = parts_of(**recipe)
    then = {**done, "inputs": {name: source["digest"] for name, source in done["inputs"].items()}}
    reasons = list(differences({name: then[name] for name in now}, now))
    return (STALE, reasons) if reasons else (UP_TO_DATE, [])


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs between the parts of two digests (``lineage.step.parts_of``), one line each, old value and new."""
    if then["seed"] != now["seed"]:
        yield f"seed: {then['seed']} -> {now['seed']}"
    for name, (old, new) in changes(flatten(then["config"]), flatten(now["config"])):
        yield f"setting {name}: {shown(old)} -> {shown(new)}"
    for name, (old, new) in changes(then["inputs"], now["inputs"]):
        yield f"input {name}: {shown(old)[:12]} -> {shown(new)[:12]}"
    for part, words in NAMES.items():
        for name, (old, new) in changes(then["code"][part], now["code"][part]):
            yield f"{words} {name}: {shown(old)} -> {shown(new)}"


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The keys whose values differ, with both values; None for a key that one side lacks."""
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            yield name, (then.get(name), now.get(name))


def shown(value: Any) -> str:
    """A value as a line shows it; ``nothing`` for one that is not there."""
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)
