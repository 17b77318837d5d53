"""Plugins: the sources, benchmarks, tool agents, executors, agents, environments and planners that are found by name.

Each is an entry point of an installed package, ours too (``pyproject.toml``), so that a team adds its own in a package
of its own: docs/plugins.md. Looking a name up reads the packages' metadata and imports nothing.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from tracer.settings import ConfigError

SOURCES = "tracer.sources"
BENCHMARKS = "tracer.benchmarks"
TOOLS = "tracer.tools"
EXECUTORS = "tracer.executors"
AGENTS = "tracer.agents"
ENVIRONMENTS = "tracer.environments"
PLANNERS = "tracer.planners"
KINDS = {
    SOURCES: "source",
    BENCHMARKS: "benchmark",
    TOOLS: "tool agent",
    EXECUTORS: "executor",
    AGENTS: "agent",
    ENVIRONMENTS: "environment",
    PLANNERS: "planner",
}
"""What a group's entry points are, in words."""


class PluginError(ConfigError):
    """A name that no installed package provides, that two provide, or that cannot be imported."""


def names(group: str) -> list[str]:
    """The names in a group, sorted."""
    return sorted(_entries(group))


def load(group: str, name: str) -> Any:
    """What the entry point refers to: a module, a class or a function, as the group has it. Raises ``PluginError``."""
    entry = find(group, name)
    try:
        return entry.load()
    except Exception as error:  # whatever foreign code raises while it is imported
        raise PluginError(
            f"the {KINDS[group]} {name!r} of {_owner(entry)} cannot be imported ({entry.value}): "
            f"{type(error).__name__}: {error}"
        ) from error


def module_of(group: str, name: str) -> str:
    """The dotted name of the module that a name refers to, without importing it. Raises ``PluginError``."""
    return find(group, name).module


def find(group: str, name: str) -> EntryPoint:
    """The one entry point of that name. Raises ``PluginError``."""
    found = _entries(group).get(name, [])
    if len(found) > 1:
        owners = " and ".join(sorted(_owner(entry) for entry in found))
        raise PluginError(f"the {KINDS[group]} {name!r} is provided by {owners}; uninstall one of them")
    if not found:
        missing = f"unknown {KINDS[group]} {name!r}; there are: {', '.join(names(group))}"
        if name in _declared().get(group, {}):
            missing += ". This checkout declares it, but was installed before it did: run `make environment`"
        raise PluginError(missing)
    return found[0]


def known(group: str) -> Callable[[str], str]:
    """A validator of a setting that names one of a group's plugins: it returns the name, or raises ``PluginError``."""

    def check(name: str) -> str:
        find(group, name)
        return name

    return check


@cache
def _entries(group: str) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in importlib.metadata.entry_points(group=group):
        found.setdefault(entry.name, []).append(entry)
    return found


def _owner(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed package"


def _declared() -> dict[str, dict[str, str]]:
    """The entry points of the checkout that this file lies in; none where tracer was installed from a wheel."""
    path = Path(__file__).parent.parent / "pyproject.toml"
    if not path.is_file():
        return {}
    declared: dict[str, dict[str, str]] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["entry-points"]
    return declared
