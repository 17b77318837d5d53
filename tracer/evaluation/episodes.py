"""Playing many episodes side by side: the planner sees the states of all of them in one batch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tracer.action import Action
from tracer.agents.agent import Agent, Decision, act_all
from tracer.environments.environment import Environment, World
from tracer.planner.plan import Planner
from tracer.trajectory import State

CRASHED = "crashed"
LONGEST_WAIT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An episode to be played: which strategy, on which page, from which seed."""

    strategy: str
    task: str
    split: str
    seed: int

    @property
    def id(self) -> str:
        """What names the episode in the results."""
        return f"{self.strategy}/{self.task}/{self.seed}"


@dataclass(slots=True)
class Running:
    """An episode that is being played."""

    episode: Episode
    agent: Agent
    environment: Environment
    state: State
    started: float
    trace: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many episodes are played at once, and when one is given up."""

    slots: int
    max_steps: int
    seconds: float
    """Wall-clock seconds after which an episode is given up: a page that hangs must not hold up the others."""


class Pool:
    """Environments kept open between episodes: opening a page costs more than a whole short episode on it."""

    def __init__(self, world: World) -> None:
        self.faults = world.faults
        self._open = world.open
        self._free: dict[str, list[Environment]] = {}

    def take(self, task: str) -> Environment:
        """A free environment of the task, or a new one, for which a free one of another task makes room."""
        if self._free.get(task):
            return self._free[task].pop()
        other = next((name for name, free in self._free.items() if free), None)
        if other is not None:
            self.discard(self._free[other].pop())
        return self._open(task)

    def give(self, task: str, environment: Environment) -> None:
        """Take an environment back, for the next episode of its task."""
        self._free.setdefault(task, []).append(environment)

    def discard(self, environment: Environment) -> None:
        """Close an environment for good."""
        # A crashed page may not even close; the browser throws it away at its own end.
        try:
            environment.close()
        except self.faults:
            return

    def close(self) -> None:
        """Close every free environment."""
        for free in self._free.values():
            while free:
                self.discard(free.pop())


def play(
    episodes: Iterable[Episode], planner: Planner, world: World, make_agent: Callable[[str], Agent], limits: Limits
) -> Iterator[tuple[dict[str, Any], float]]:
    """Play the episodes in a world, side by side; a result row and its seconds as each one ends.

    Errors other than the world's own (``faults`` and ``impossible``) end the run.
    """
    pool = Pool(world)
    # Those of one strategy side by side want forecasts of one length, which is one batch; those of one page reuse it.
    waiting = deque(sorted(episodes, key=lambda episode: (episode.strategy, episode.task, episode.seed)))
    running: list[Running] = []
    while waiting or running:
        while waiting and len(running) < limits.slots:
            begun = _begin(waiting.popleft(), pool, make_agent)
            if isinstance(begun, Running):
                running.append(begun)
            else:
                yield begun, 0.0
        decisions = act_all([each.agent for each in running], planner, [each.state for each in running])
        going_on = []
        for each, decision in zip(running, decisions, strict=True):
            reason = _advance(each, decision, limits, world)
            if reason is None:
                going_on.append(each)
                continue
            if reason.startswith(CRASHED):
                pool.discard(each.environment)
            else:
                pool.give(each.episode.task, each.environment)
            yield _row(each.episode, reason, each.state.goal, each.trace), time.monotonic() - each.started
        running = going_on
    pool.close()


def _begin(episode: Episode, pool: Pool, make_agent: Callable[[str], Agent]) -> Running | dict[str, Any]:
    environment = pool.take(episode.task)
    started = time.monotonic()
    try:
        state = environment.reset(episode.seed)
    except pool.faults as error:
        pool.discard(environment)
        return _row(episode, _crash(error), "", [])
    return Running(episode, make_agent(episode.strategy), environment, state, started)


def _advance(each: Running, decision: Decision, limits: Limits, world: World) -> str | None:
    """Execute the decision; why the episode is over, or None where it goes on."""
    each.trace.append(
        {
            "text": decision.text,
            "step": decision.step.instruction if decision.step else None,
            "action": decision.action.to_dict() if decision.action else None,
        }
    )
    if decision.action is None or decision.step is None:
        return decision.reason
    try:
        action = _shortened(decision.action)
        each.state, done, success = each.environment.step(action, decision.step.instruction)
    except world.impossible as error:
        return f"impossible: {error}"
    except world.faults as error:
        return _crash(error)
    if done:
        return "solved" if success else "failed: the page says so"
    if len(each.trace) >= limits.max_steps:
        return f"failed: no end after {limits.max_steps} steps"
    if time.monotonic() - each.started > limits.seconds:
        return f"{CRASHED}: no end after {limits.seconds:g} seconds"
    return None


def _shortened(action: Action) -> Action:
    """A planner may ask to wait for an hour; nothing here takes more than moments."""
    return Action.of("wait", seconds=min(action.get("seconds", 1.0), LONGEST_WAIT)) if action.type == "wait" else action


def _crash(error: Exception) -> str:
    return f"{CRASHED}: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"


def _row(episode: Episode, reason: str, goal: str, trace: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": episode.id,
        **asdict(episode),
        "success": float(reason == "solved"),
        "steps": len(trace),
        "reason": reason,
        "goal": goal,
        "trace": trace,
    }
