"""Whether a version can be made again from a clone: what stands against it is found when it is registered.

Everything is looked up where a stranger would find it: in the commit, in DVC's remotes, in the version itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tracer.config import PARAMS, Config
from tracer.lineage.code import ABSENT, parsed
from tracer.lineage.digest import LineageError
from tracer.lineage.provenance import LOCK, committed
from tracer.lineage.step import SCHEME
from tracer.planner.lora import adapted
from tracer.registry import storage, versions
from tracer.registry.rebuild import again, outside, pinned_at, starts_from, steps_to_run
from tracer.settings import ConfigError

SHOWN = 5
"""How many names a reason lists."""


def reasons(config: Config, made: Mapping[str, Any], folder: Path) -> list[str]:
    """Why a version cannot be made again, one sentence each; empty where nothing is known to stand against it.

    ``made`` is the version's ``rebuild.document``, and ``folder`` that of the registered stage.
    """
    steps = [made["steps"][step] for step in steps_to_run(made)]
    found = [
        f"{name} read {listed(foreign)}, which no step makes and no pinned data contain"
        for name, foreign in outside(made).items()
    ]
    for lineage in steps:
        if "ended" in lineage["metrics"]:
            step = lineage["step"]
            found.append(f"{step} ended early ({lineage['metrics']['ended']}): the same steps by {step}.steps make it")
    start = starts_from(made)
    earlier = versions.version_of(start, config.registry).not_rebuildable if start else []
    found += [f"training started from {start}, which cannot be made again: {reason}" for reason in earlier]
    base = adapted(folder)
    if base is not None and not (base.revision or base.weights):
        found.append(f"the weights of the adapter's base {base.id} are unknown")
    if made["commit"] is None:
        found.append("the code was in no git checkout")
    else:
        found += [*_code(made["commit"], steps), *_settings(config, made)]
    return [*found, *_data(config, made)]


def _code(commit: str, steps: list[Mapping[str, Any]]) -> Iterator[str]:
    """Modules and data files of the steps that the commit has otherwise, and packages that its lock does not pin."""
    if any(lineage.get("scheme", 1) != SCHEME for lineage in steps):
        yield f"its digests follow an older scheme than {SCHEME}: its code cannot be compared with a commit's"
        return
    parts: dict[str, set[tuple[str, str]]] = {
        part: {item for lineage in steps for item in lineage["code"][part].items()}
        for part in ("modules", "files", "libraries")
    }
    places = [place for name, _ in parts["modules"] for place in _places(name)]
    stored = committed(commit, [LOCK, *places, *(f"tracer/{name}" for name, _ in parts["files"])])
    other = {name for name, digest in parts["modules"] if digest not in _syntax(stored, name)}
    other |= {name for name, digest in parts["files"] if digest != _sha(stored.get(f"tracer/{name}"))[:16]}
    if other:
        yield f"it was made with code that is not in commit {commit[:12]}: {listed(other)}"
    if {lineage["lock"] for lineage in steps} != {_sha(stored.get(LOCK))}:
        yield f"its steps had another {LOCK} than commit {commit[:12]}"
    lines = stored.get(LOCK, b"").decode().lower().replace("_", "-").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    free = {f"{name} {version}" for name, version in parts["libraries"] if version not in (pins.get(name), ABSENT)}
    if free:
        yield f"{LOCK} does not pin {listed(free)}"


def _settings(config: Config, made: Mapping[str, Any]) -> Iterator[str]:
    """Whether the profile of the commit and the recorded overrides give the settings, as the commands will."""
    text = f"its settings do not follow from {PARAMS} of commit {made['commit'][:12]}"
    try:
        if again(made) != config:
            yield f"{text} and overrides"
    except ConfigError as error:
        yield f"{text}: {' '.join(str(error).split())}"
    paths = {"data.path": config.data.path, "planner.base": config.planner.base}
    for name, path in paths.items():
        if Path(path).is_absolute():
            yield f"{name} is a place on this machine: {path}"


def _data(config: Config, made: Mapping[str, Any]) -> Iterator[str]:
    """Whether the data are pinned, the pin is committed, and a remote has what it pins."""
    pointer, md5 = config.data.pointer, made["data"]["md5"]
    if md5 is None:
        yield f"its data {config.data.path} are not pinned by DVC"
        return
    if made["commit"] is not None and made["data"]["commit"] is None:
        pinned = pinned_at(made["commit"], pointer) or "nothing"
        yield f"{pointer} pinned {md5}, and in commit {made['commit'][:12]} it pins {pinned}"
    try:
        with storage.project([md5]) as project:
            if not storage.remotes():
                yield "DVC has no remote"
            elif storage.holder(project, md5) is None:
                yield f"no DVC remote has all of {pointer}: `dvc push {pointer}`"
    except LineageError as error:
        yield f"DVC cannot say whether a remote has the data: {error}"


def _places(module: str) -> tuple[str, str]:
    """Where a module may be in the repository."""
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def _syntax(stored: Mapping[str, bytes], module: str) -> set[str]:
    """The digests that a module of a commit may have in a step's code."""
    for place in _places(module):
        if place in stored:
            found = parsed(stored[place], module, place.endswith("__init__.py"))
            return {found.bare, found.documented}
    return set()


def _sha(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    several = sorted(names)
    more = f" and {len(several) - SHOWN} more" if len(several) > SHOWN else ""
    return ", ".join(several[:SHOWN]) + more
