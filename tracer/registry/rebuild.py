"""How a registered version was made: its lineages, and the commands that make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracer.config import Config
from tracer.config import load as load_config
from tracer.json_files import flatten, read_json
from tracer.registry import tracking, versions
from tracer.registry.settings import RegistryConfig
from tracer.registry.versions import Version
from tracer.settings import ConfigError
from tracer.stages import STAGES

CHAIN = "lineage.json"
"""The document of a version that says what made it."""


COMMANDS = {"ingest": "ingest", **{stage.name: f"train {stage.name}" for stage in STAGES}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Everything that made a version."""

    version: Version
    steps: Mapping[str, Mapping[str, Any]]
    commands: Sequence[str]
    """What rebuilds it, from a clone of the repository."""


def lineage_of(where: str, config: RegistryConfig | None = None) -> Lineage:
    """The chain of lineages of a registered version, and the commands that rebuild it; raises ``RegistryError``."""
    config = config or versions.registry_config()
    found = read_json(versions.download(where, config) / "artifacts" / CHAIN)
    return Lineage(version=versions.version_of(where, config), steps=found["steps"], commands=rebuild_commands(found))


def document(config: Config, lineages: Mapping[str, Any]) -> dict[str, Any]:
    """What a version says of its making: ``rebuild_commands`` reads it."""
    data = {"path": config.data.path, "pointer": config.data.pointer, "md5": tracking.data_digest(config)}
    # What differs from the profile is recorded now: a later checkout's profile may contain something else.
    settings = {"profile": config.profile, "seed": config.seed, "overrides": changed(config)}
    return {**settings, "config": config.model_dump(mode="json"), "steps": dict(lineages), "data": data}


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
        commands.append(f"dvc pull {made['data']['pointer']}  # md5 {made['data']['md5']}")
    known = flatten(made["config"])
    for step, lineage in steps.items():
        if step in COMMANDS:
            # Where a step was made with other settings than it was registered with, its own count.
            own = {k: value for k, value in flatten(lineage["config"]).items() if k in known and known[k] != value}
            overrides = {**made["overrides"], **own}
            words = [f"--set {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in overrides.items()]
            settings = " ".join([f"--profile {made['profile']} --seed {made['seed']}", *words])
            threads = lineage["hardware"].get("threads")
            bits = f"OMP_NUM_THREADS={threads} " if threads else ""
            commands.append(f"{bits}tracer {COMMANDS[step]} {settings}  # output {lineage['output']}")
    return commands


def changed(config: Config) -> dict[str, Any]:
    """What the configuration has otherwise than its profile in params.yaml."""
    ours = flatten(config.model_dump(mode="json"))
    try:
        theirs = flatten(load_config(config.profile, [f"seed={config.seed}"]).model_dump(mode="json"))
    except ConfigError:
        theirs = flatten(Config(profile=config.profile, seed=config.seed).model_dump(mode="json"))
    return {key: value for key, value in ours.items() if theirs.get(key) != value}
