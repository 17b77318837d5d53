"""Tasks with gold calls as trajectories: played in their environment, and split by family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tracer.action import Action
from tracer.tools.execution import observed
from tracer.tools.gold import Session, written_call
from tracer.trajectory import Step

SPLITS = {0: "test", 1: "validation"}
"""By the last digit of a task's number; the others are for training."""
END = {"terminate": "stop", "answer": "answer"}


def split_of(task: str, family: str, heldout: str) -> str:
    """The split of a task, whose name ends in its number behind ``_``: the held-out family is kept apart."""
    return "heldout" if family == heldout else SPLITS.get(int(task.rpartition("_")[2]) % 10, "train")


def played(
    session: Session, described: str, calls: Iterable[tuple[str, Mapping[str, Any]]], end: Action
) -> tuple[Step, ...]:
    """The calls, each run in the session, which it changes, and observed, and the end."""
    steps: list[Step] = []
    observation = described
    for name, arguments in calls:
        action = Action.of("tool_call", name=name, arguments=arguments)
        steps.append(Step(action=action, instruction=written_call(name, arguments), observation=observation))
        observation = observed(session.call(name, arguments)[0], described)
    return (*steps, Step(action=end, instruction=END[end.type], observation=observation))
