"""How a registered version was made: its lineages, and the commands that make it again."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tracer.config import PARAMS, Config
from tracer.config import load as load_config
from tracer.json_files import flatten, read_json
from tracer.lineage.pins import pinned_folder, pointer_of
from tracer.lineage.provenance import committed
from tracer.lineage.step import relative
from tracer.registry import step_runs, versions
from tracer.registry.settings import RegistryConfig
from tracer.settings import ConfigError
from tracer.stages import STAGES

CHAIN = "lineage.json"
"""The document of a version that says what made it."""


COMMANDS = {"ingest": "ingest", "base": "base hub", **{stage.name: f"train {stage.name}" for stage in STAGES}}
START = "base registered"
"""The command of ``base`` where training starts from a registered version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Everything that made a version."""

    version: versions.Version
    steps: Mapping[str, Mapping[str, Any]]
    commands: Sequence[str]
    """What rebuilds it, from a clone of the repository."""


def lineage_of(where: str, config: RegistryConfig | None = None) -> Lineage:
    """The chain of lineages of a registered version, and the commands that rebuild it; raises ``RegistryError``."""
    config = config or versions.registry_config()
    found = document_of(where, config)
    return Lineage(version=versions.version_of(where, config), steps=found["steps"], commands=rebuild_commands(found))


def document_of(where: str, config: RegistryConfig) -> dict[str, Any]:
    """What a registered version says of its making (``document``); raises ``RegistryError``."""
    return dict(read_json(versions.download(where, config) / "artifacts" / CHAIN))


def document(config: Config, lineages: Mapping[str, Any]) -> dict[str, Any]:
    """What a version says of its making: ``rebuild_commands`` reads it."""
    commit = (list(lineages.values())[-1]["git"] or {}).get("commit")
    pointer = pointer_of(config.data.pointer)
    # What was ingested; the pointer may have moved on since.
    md5 = lineages.get("ingest", {}).get("metrics", {}).get("dvc_md5") or step_runs.data_digest(config)
    data = {
        "path": config.data.path,
        "pointer": config.data.pointer,
        "folder": None if pointer is None else relative(pinned_folder(pointer)),
        "md5": md5,
        "commit": _pinning(config.data.pointer, md5, lineages),
    }
    # What differs from the profile is recorded now, and from that of the commit: the file here may have been edited.
    settings = {"profile": config.profile, "seed": config.seed, "overrides": _changed_since(config, commit)}
    return {
        **settings,
        "commit": commit,
        "config": config.model_dump(mode="json"),
        "steps": dict(lineages),
        "data": data,
    }


def pinned_at(commit: str, pointer: str) -> str | None:
    """The md5 that a pointer pins in a commit; None where it is not there."""
    stored = committed(commit, [pointer]).get(pointer) if pointer else None
    return str(yaml.safe_load(stored)["outs"][0]["md5"]) if stored else None


def _pinning(pointer: str, md5: str | None, lineages: Mapping[str, Any]) -> str | None:
    """The last commit at which a step ran that pins the data: a batch may have been committed between two steps."""
    commits = [(lineage["git"] or {}).get("commit") for lineage in reversed(list(lineages.values()))]
    return next((each for each in commits if each and md5 and pinned_at(each, pointer) == md5), None)


def steps_to_run(made: Mapping[str, Any]) -> list[str]:
    """The steps that a rebuild runs, in their order: all that lead to the last one from the pinned data on."""
    return list(_walked(made))


def starts_from(made: Mapping[str, Any]) -> str:
    """The registered version that training started from, as ``NAME/VERSION``; empty where it was no such version."""
    return str(made["steps"].get("base", {}).get("config", {}).get("version", ""))


def outside(made: Mapping[str, Any]) -> dict[str, list[str]]:
    """Step -> what it read that neither one of these steps makes nor the pinned data contain."""
    return {step: foreign for step, foreign in _walked(made).items() if foreign}


def _walked(made: Mapping[str, Any]) -> dict[str, list[str]]:
    steps, pinned = made["steps"], made["data"]["folder"]
    makers = {lineage["path"]: step for step, lineage in steps.items() if step in COMMANDS}
    todo, found = [list(steps)[-1]], dict[str, list[str]]()
    while todo:
        step = todo.pop()
        if step in found:
            continue
        found[step] = []
        for name, source in steps[step]["inputs"].items():
            if pinned and Path(source["path"]).is_relative_to(pinned):
                continue
            if source["path"] in makers:
                todo.append(makers[source["path"]])
            else:
                found[step].append(f"{name} ({source['path']})")
    return {step: found[step] for step in steps if step in found}


def rebuild_commands(made: Mapping[str, Any]) -> list[str]:
    """The commands that make the version again, from a clone on."""
    steps = made["steps"]
    last = list(steps.values())[-1]
    git = last["git"] or {}
    commands = [f"git checkout {git['commit']}" if git.get("commit") else "# the code was not in a git checkout"]
    if git.get("dirty"):
        commands.append(
            "# the working tree differed from that commit; the digests below decide whether yours is the same"
        )
    commands.append(f"python -m pip install -c constraints.txt -e .  # constraints.txt has sha256 {last['lock']}")
    if made["data"]["pointer"]:
        pin = made["data"]["commit"]
        if pin not in (None, git.get("commit")):
            commands.append(f"git checkout {pin} -- {made['data']['pointer']}  # the data had moved on by then")
        commands.append(f"dvc pull {made['data']['pointer']}  # md5 {made['data']['md5']}")
    start = starts_from(made)
    if start:
        commands.append(f"# training started from {start}: `tracer reproduce {start}` makes that again")
    for step in steps_to_run(made):
        threads = steps[step]["hardware"].get("threads")
        bits = f"OMP_NUM_THREADS={threads} " if threads else ""
        commands.append(f"{bits}tracer {shlex.join(arguments(made, step))}  # output {steps[step]['output']}")
    return commands


def arguments(made: Mapping[str, Any], step: str) -> list[str]:
    """The arguments of ``tracer`` that make a step again."""
    known = flatten(made["config"])
    # Where a step was made with other settings than it was registered with, its own count.
    config = flatten(made["steps"][step]["config"])
    own = {key: value for key, value in config.items() if key in known and known[key] != value}
    words = [w for key, value in {**made["overrides"], **own}.items() for w in ("--set", f"{key}={json.dumps(value)}")]
    command = START if starts_from(made) and step == "base" else COMMANDS[step]
    return [*command.split(), "--profile", made["profile"], "--seed", str(made["seed"]), *words]


def again(made: Mapping[str, Any]) -> Config:
    """The configuration that the commands come to in a clone of the commit; raises ``ConfigError``."""
    overrides = [f"{key}={json.dumps(value)}" for key, value in made["overrides"].items()]
    with _params_of(made["commit"]) as path:
        try:
            return load_config(made["profile"], [f"seed={made['seed']}", *overrides], path=path)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), str(PARAMS))) from error


def changed(config: Config, params: Path = PARAMS) -> dict[str, Any]:
    """What the configuration has otherwise than its profile in params.yaml."""
    ours = flatten(config.model_dump(mode="json"))
    try:
        theirs = flatten(load_config(config.profile, [f"seed={config.seed}"], path=params).model_dump(mode="json"))
    except ConfigError:
        theirs = flatten(Config(profile=config.profile, seed=config.seed).model_dump(mode="json"))
    return {key: value for key, value in ours.items() if theirs.get(key) != value}


def _changed_since(config: Config, commit: str | None) -> dict[str, Any]:
    if commit is None:
        return changed(config)
    with _params_of(commit) as path:
        return changed(config, path)


@contextmanager
def _params_of(commit: str) -> Iterator[Path]:
    """The params.yaml of a commit."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / PARAMS
        path.write_bytes(committed(commit, [str(PARAMS)]).get(str(PARAMS), b""))
        yield path
