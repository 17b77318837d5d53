"""AgentDojo's simulated workplaces, executed: environments, tools and user tasks of the package ``agentdojo``.

No injections. What a tool does depends on nothing but the environment and the arguments: the clock of the package's
mails and files stands still.
"""

from __future__ import annotations

import copy
import datetime
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tracer.lineage.digest import digest_of, file_digest
from tracer.settings import ConfigError
from tracer.tools.execution import Identity
from tracer.tools.gold import GoldExecutor

PACKAGE = "agentdojo"
SOURCE = "agentdojo"
"""The source of its trajectories; each is a user task, named ``agentdojo/<suite>/<task>``."""
VERSION = "v1.2.2"
"""Of the suites that are trained on."""
SUITES = ("workspace", "travel", "banking", "slack")
CLOCKS = ("email_client", "cloud_drive_client")
"""The modules of tools that ask ``datetime.datetime.now()``."""
NOW = datetime.datetime(2024, 5, 15, 12)
"""What they are told: a day that is in the workplaces' calendars."""


class AgentDojoExecutor(GoldExecutor):
    """Runs a call in the workplace of a user task."""

    name = SOURCE

    @cached_property
    def _suites(self) -> dict[str, Any]:
        return suites(VERSION)

    def reach(self, trajectory: str, step: int) -> Session | None:
        """The workplace after the first gold calls of a task."""
        suite, _, task = trajectory.partition("/")
        if suite not in self._suites or task not in self._suites[suite].user_tasks:
            return None
        session = Session(self._suites[suite], task)
        for name, arguments in session.gold()[:step]:
            session.call(name, arguments)
        return session

    def identities(self) -> list[Identity]:
        """Every suite, by the digest of its tools, tasks and data."""
        folder, version = find(), importlib.metadata.version(PACKAGE)
        files = [each for kind in ("py", "yaml") for each in sorted(folder.rglob(f"*.{kind}"))]
        found = {each.relative_to(folder): file_digest(each) for each in files}
        return [
            Identity(
                name=f"{self.name}/{suite}",
                version=version,
                digest=digest_of({str(file): found[file] for file in found if {suite, "tools"} & {*file.parts}}),
            )
            for suite in SUITES
        ]


class Session:
    """The fresh environment of one user task."""

    def __init__(self, suite: Any, task: str) -> None:
        self.task = suite.user_tasks[task]
        self.environment = self.task.init_environment(copy.deepcopy(_environment(suite)))
        self._runtime = importlib.import_module(f"{PACKAGE}.functions_runtime").FunctionsRuntime(suite.tools)

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        found = copy.copy(self)  # the task and the tools are shared
        found.environment = copy.deepcopy(self.environment, memo)
        return found

    def gold(self) -> list[tuple[str, dict[str, Any]]]:
        """The task's own solution, to be asked before anything is called: names and arguments."""
        return [(call.function, dict(call.args)) for call in self.task.ground_truth(self.environment)]

    def described(self) -> str:
        """The tools with their parameters, as the planner is shown them."""
        tools = self._runtime.functions.values()
        return "Tools: " + "; ".join(f"{each.name}({', '.join(each.parameters.model_fields)})" for each in tools)

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """What the tool answers, and whether it failed."""
        result, error = self._runtime.run_function(self.environment, name, dict(arguments))
        return error or str(result), error is not None

    def state(self) -> Any:
        """The environment, which is a model of pydantic."""
        return self.environment


@lru_cache
def _environment(suite: Any) -> Any:
    return suite.load_and_inject_default_environment({})


def find() -> Path:
    """The package's folder; raises ``ConfigError``."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ConfigError("AgentDojo needs the package agentdojo; install the extra `bench` (docs/benchmarks.md)")
    return Path(found.origin).parent


def suites(version: str) -> dict[str, Any]:
    """The task suites of a version, by name; raises ``ConfigError``."""
    find()
    found: dict[str, Any] = importlib.import_module(f"{PACKAGE}.task_suite.load_suites").get_suites(version)
    if not found:
        raise ConfigError(f"agentdojo has no suites of version {version!r}")
    for name in CLOCKS:
        module = importlib.import_module(f"{PACKAGE}.default_suites.v1.tools.{name}")
        vars(module)["datetime"] = SimpleNamespace(datetime=SimpleNamespace(now=lambda: NOW))
    return found
