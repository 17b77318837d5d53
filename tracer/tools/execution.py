"""Executors: they run a tool call in the task's environment at one state, and a call is worth what it achieves there.

Source: paper, stage 2: a tool call is executed, and rewarded 1 if its answer matches, else 0. Calls that no executor
can run are compared with the reference instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Protocol

from tracer import plugins
from tracer.action import Action
from tracer.examples import Example

CACHED = 4096
"""Judgements that are kept; the rollouts of a group repeat each other."""
OBSERVED = 4000
"""Characters of a tool's answer that the planner is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call led to."""

    answer: str
    state: Any = None
    """The environment afterwards, comparable with ``==``; None where there is none."""
    changed: bool = False
    """Whether the call changed it."""
    failed: bool = False
    """Whether the call could not be run to its end, such as one with wrong arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which tool it was, for the lineage."""

    name: str
    version: str
    digest: str


class Executor(Protocol):
    """A class without arguments, registered as an entry point of the group ``tracer.executors``.

    It is deterministic: the same call at the same state has the same outcome. What it executes can reach nothing
    outside the task's environment.
    """

    name: str
    """The name that it is registered under."""

    def execute(self, at: Example, call: Action) -> Outcome | None:
        """What the call leads to at that state, which stays as it is; None where it is no call of this executor.

        Raises ``ConfigError`` where it lacks something that it needs.
        """

    def identities(self) -> Sequence[Identity]:
        """Its tools. Read without importing any of them; raises ``ConfigError``."""


class Executors:
    """The executors that ``grounding.executors`` names. The first that can run the reference's call judges a state."""

    def __init__(self, names: Iterable[str]) -> None:
        self._executors: list[Executor] = [plugins.load(plugins.EXECUTORS, name)() for name in names]
        self._judged = lru_cache(CACHED)(self._judge)

    def identities(self) -> list[dict[str, str]]:
        """Name, version and digest of every tool."""
        return [asdict(each) for executor in self._executors for each in executor.identities()]

    def reward(self, at: Example, call: Action | None) -> float | None:
        """1 if the call achieves at a state what the reference's does, else 0; None where nobody can run that one."""
        reference = at.reference[0].action
        if not self._executors or reference.type != "tool_call":
            return None
        return self._judged(at, call if call is not None and call.type == "tool_call" else None)

    def counts(self, states: Iterable[Example]) -> dict[str, int]:
        """How many states with a tool call are executed and how many compared; nothing where there are none."""
        calls = [at for at in states if at.reference[0].action.type == "tool_call"]
        executed = sum(self.reward(at, None) is not None for at in calls)
        return {"executed": executed, "compared": len(calls) - executed} if calls else {}

    def _judge(self, at: Example, call: Action | None) -> float | None:
        for executor in self._executors:
            theirs = executor.execute(at, at.reference[0].action)
            if theirs is None or theirs.failed:
                continue
            ours = executor.execute(at, call) if call is not None else None
            return float(ours is not None and achieves(ours, theirs))
        return None


def achieves(ours: Outcome, theirs: Outcome) -> bool:
    """Whether a call leaves the environment as the reference does, and answers the same where that changed nothing.

    A call that changes something is judged by the change, whichever way leads to it; a question only by its answer,
    since every other question changes nothing either.
    """
    return not ours.failed and ours.state == theirs.state and (theirs.changed or ours.answer == theirs.answer)


def observed(answer: str, described: str) -> str:
    """What a planner observes after a call: the answer, cut at ``OBSERVED`` characters, and the tools that it has."""
    return f"{answer[:OBSERVED]}\n{described}"
