"""Examples: the states of trajectories, each with the reference that a forecast made in it is compared with.

Training, evaluation, the report and the preflight checks all take their states from here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tracer.forecast import Forecast, reference
from tracer.trajectory import State, Trajectory, state_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One state to forecast from, with what was really done from there on."""

    trajectory: str
    """The trajectory's id."""
    step: int
    """Which step of it, counted from 0."""
    task: str
    split: str
    state: State
    reference: Forecast
    remaining: int
    """The steps that the trajectory still takes, this one included; the reference may end before."""

    @property
    def key(self) -> tuple[str, int]:
        """What names the example: its trajectory and step."""
        return self.trajectory, self.step


def examples(trajectories: Iterable[Trajectory], horizon: int) -> Iterator[Example]:
    """Every state of the trajectories, in order, with a reference of at most ``horizon`` steps."""
    for trajectory in trajectories:
        yield from (example(trajectory, step, horizon) for step in range(len(trajectory.steps)))


def example(trajectory: Trajectory, step: int, horizon: int) -> Example:
    """The state in which step ``step`` (from 0) was taken."""
    return Example(
        trajectory=trajectory.id,
        step=step,
        task=trajectory.task,
        split=trajectory.split,
        state=state_at(trajectory, step),
        reference=reference(trajectory, step, horizon),
        remaining=len(trajectory.steps) - step,
    )


def chunks(found: Iterable[Example], size: int) -> Iterator[list[Example]]:
    """The examples, ``size`` at a time: their screenshots do not all fit into memory."""
    iterator = iter(found)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def state_digest(state: State) -> str:
    """Equal for states in which a planner sees the same."""
    shown = [state.goal, [element.to_dict() for element in state.elements or ()], state.history, state.observation]
    return hashlib.sha256(json.dumps(shown, ensure_ascii=False).encode() + (state.image or b"")).hexdigest()[:32]
