"""What executors of tasks with gold calls share: a call is run in a copy of the environment that those lead to."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from tracer.action import Action
from tracer.examples import Example
from tracer.tools.execution import Identity, Outcome

KEPT = 64
"""Environments that are kept in memory; those of BFCL's long contexts hold megabytes."""


class Session(Protocol):
    """The environment of one task, which calls change. ``copy.deepcopy`` gives one that is changed alone."""

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """What the tool answers, and whether it could not be called."""

    def state(self) -> Any:
        """The environment as it is, comparable with ``==``."""


class GoldExecutor(ABC):
    """Runs a call in a copy of the task's environment, after the gold calls that lead to the state."""

    name: str
    """The name that it is registered under, and that of the source of its trajectories."""

    def __init__(self) -> None:
        self._reached = lru_cache(KEPT)(self.reach)

    def execute(self, at: Example, call: Action) -> Outcome | None:
        """What the call returns and leaves behind; None for a state of another source."""
        source, _, trajectory = at.trajectory.partition("/")
        if source != self.name or call.type != "tool_call":
            return None
        before = self._reached(trajectory, at.step)
        if before is None:
            return None
        after = copy.deepcopy(before)
        answer, failed = after.call(call.get("name"), call.tool_arguments)
        state = after.state()
        return Outcome(answer=answer, state=state, changed=state != before.state(), failed=failed)

    @abstractmethod
    def reach(self, trajectory: str, step: int) -> Session | None:
        """The environment after the first steps of a trajectory, named without its source; None for an unknown one."""

    @abstractmethod
    def identities(self) -> Sequence[Identity]:
        """Its tools, as ``Executor`` has it."""


def written_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A tool call as Python writes it: ``cd(folder='document')``."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
