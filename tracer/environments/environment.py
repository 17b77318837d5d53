"""What an environment is: a world of tasks, each of which an agent acts in for one episode after another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from tracer.action import Action
from tracer.trajectory import State


class Environment(Protocol):
    """One task, in Gymnasium's vocabulary; it plays one episode after another."""

    def reset(self, seed: int) -> State:
        """Start the episode of this seed; the same seed gives the same goal and screen."""

    def step(self, action: Action, instruction: str | None = None) -> tuple[State, bool, bool]:
        """Act; the new state, whether the episode is over, and whether it succeeded.

        ``instruction`` says in words what the action does, for the state's history.
        """

    def close(self) -> None:
        """Release what the environment holds."""


Method = Literal["reset", "step"]
Calls = Sequence[tuple[Environment, tuple[Any, ...]]]


class World(ExitStack):
    """The tasks of one kind: a class without arguments, an entry point of the group ``tracer.environments``.

    A context manager: inside it, ``open`` gives environments, as many as are asked for. A world that holds something,
    such as a browser, takes it with ``enter_context`` in its ``__enter__``, and is closed with it. The settings
    ``evaluation.environment`` and ``Benchmark.environment`` name a world.
    """

    tasks: ClassVar[Mapping[str, Sequence[str]]]
    """The tasks of the online evaluation by split: ``test`` (trained on, with other seeds) and ``heldout``
    (never trained on)."""
    impossible: ClassVar[tuple[type[Exception], ...]] = ()
    """What ``step`` raises for an action that has no meaning here: the episode fails."""

    ends: ClassVar[tuple[str, str]] = ("solved", "failed: the page says so")
    """Why an episode is over that succeeded, and one that did not."""
    seconds: ClassVar[float] = 900.0
    """After so long a try is given up: a stalled machine must not become a bad score, nor a page that hangs hold up
    the others for ever."""
    folder: Path | None = None
    """The output folder of the step, for a world that has results of its own to write."""

    def max_steps(self, task: str) -> int:
        """The steps after which an episode of this task counts as failed."""
        return 20

    @property
    def slots(self) -> int | None:
        """How many environments can be open at once; None if it does not matter."""
        return None

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """The world's own errors, not the agent's, such as a browser that died: the episode is played again, in a new
        environment or a new world, and has no score if that keeps failing."""
        return ()

    def together(self, method: Method, calls: Calls) -> list[Any]:
        """What a method of several environments, called with these arguments each, returns or raises.

        One after the other here; a world that waits for its environments can wait for all at once. What comes out must
        not depend on it.
        """
        return [_outcome(getattr(environment, method), arguments) for environment, arguments in calls]

    def begins(self, environment: Environment, episode: str) -> None:
        """Told before each ``reset`` which episode it is for, by its id; most worlds need not know."""

    def judge(self, environment: Environment) -> bool:
        """Whether an episode succeeded that something else ended: its last step, or what cannot be executed."""
        return False

    @abstractmethod
    def version(self) -> tuple[str, str]:
        """What the scores depend on (a browser's version), and why nothing can be played here (empty if it can)."""

    @abstractmethod
    def open(self, task: str) -> Environment:
        """An environment of this task."""


def _outcome(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return call(*arguments)
    except Exception as error:  # whoever asked tells the world's faults from others
        return error
