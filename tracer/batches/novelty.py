"""What of a batch is new: episodes are compared by their content, whatever their ids say.

Two episodes are the same if the same actions were done in the same states. An episode that has a state in common with
another split is left out too: a score on what was trained on shows nothing, and validation closes its gate on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tracer.examples import state_digest
from tracer.lineage.digest import digest_of
from tracer.trajectory import Trajectory, state_at


class Known:
    """The episodes seen so far."""

    def __init__(self, trajectories: Iterable[Trajectory] = ()) -> None:
        self._contents: dict[str, str] = {}
        self._states: dict[str, tuple[str, str]] = {}
        self._ids: set[str] = set()
        for trajectory in trajectories:
            self._keep(trajectory, *_looked_at(trajectory))

    def _keep(self, trajectory: Trajectory, content: str, states: list[str]) -> None:
        self._contents.setdefault(content, trajectory.id)
        self._ids.add(trajectory.id)
        for state in states:
            self._states.setdefault(state, (trajectory.split, trajectory.id))

    def take(self, trajectory: Trajectory) -> str:
        """Why an episode is not new; empty for one that is, which is known from here on."""
        content, states = _looked_at(trajectory)
        if content in self._contents:
            return f"it is {self._contents[content]}"
        found = (self._states[state] for state in states if state in self._states)
        other = next(((split, id) for split, id in found if split != trajectory.split), None)
        if other is not None:
            return f"a state of it is in {other[1]}, which is {other[0]}"
        if trajectory.id in self._ids:
            return "another episode has its id"
        self._keep(trajectory, content, states)
        return ""


def _looked_at(trajectory: Trajectory) -> tuple[str, list[str]]:
    """The digest of an episode's content, and those of its states."""
    states = [state_digest(state_at(trajectory, index)) for index in range(len(trajectory.steps))]
    done = [step.action.to_json() for step in trajectory.steps]
    return digest_of([states, done]), states


def new(trajectories: Iterable[Trajectory], known: Known) -> Iterator[tuple[Trajectory, str]]:
    """Every episode, and why it is not new; empty for one that is."""
    for trajectory in trajectories:
        yield trajectory, known.take(trajectory)
