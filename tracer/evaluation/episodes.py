"""Playing many episodes side by side: the planner sees the states of all of them in one batch, and the world executes
its answers together.

An episode that the world keeps from ending has no result, and so no score: it is played again, or named in an error.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
from typing import Any, TypeVar

from tracer.action import Action
from tracer.agents.agent import Agent, Decision, act_all
from tracer.environments.environment import Environment, World
from tracer.evaluation.traces import Turn, first_wrong
from tracer.planner.plan import Planner
from tracer.trajectory import State

TRIES = 3
"""How often an episode may fail by its world, and not by its agent, before it is given up."""
BARREN = 20
"""After so many rounds in a row in which no episode ends, all that are left are given up."""
LONGEST_WAIT = 2.0
SOLVED = "solved"
Opened = TypeVar("Opened", bound=World)
Wanted = TypeVar("Wanted")
Ended = TypeVar("Ended")


class Unplayed(RuntimeError):
    """Episodes without a result, as their world failed them; the message lists them. What ended is kept."""


class NoEnd(RuntimeError):
    """An episode that takes longer than any should: a machine or a page hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An episode to be played: which strategy, on which page, from which seed."""

    strategy: str
    task: str
    split: str
    seed: int
    run: int = 0
    """Which of several identical runs it belongs to."""

    @property
    def id(self) -> str:
        """What names the episode in the results."""
        return f"{self.strategy}/{self.task}/{self.seed}" + (f"/{self.run}" if self.run else "")


@dataclass(slots=True)
class Running:
    """An episode that is being played."""

    episode: Episode
    agent: Agent
    environment: Environment
    state: State
    started: float
    turns: list[Turn] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many episodes are played at once, and when one is given up."""

    slots: int
    max_steps: int | None
    """The most steps of an episode; None takes the world's own number for its task."""


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


def in_rounds(
    wanted: Mapping[str, Wanted],
    new_world: Callable[[], Opened],
    play_round: Callable[[Opened, dict[str, Wanted], dict[str, str], bool], Iterator[Ended]],
) -> Iterator[Ended]:
    """The results of the episodes, by id: what a world fails is played again in another, as a dead browser is no score.

    ``play_round(world, left, failed, alone)`` takes out of ``left`` what ends, and notes in ``failed`` which episodes
    failed by themselves and why. What a dying world took along stays in ``left``, and is no failure of an episode.
    ``alone``: one episode at a time, as none ended in the round before, and one of them may be what kills the world.
    After ``TRIES`` failures an episode is given up. Raises ``Unplayed`` in the end, once everything else was played.
    """
    left, tries = dict(wanted), Counter[str]()
    given_up: dict[str, str] = {}
    barren, why = 0, "no episode ends"
    while left:
        failed: dict[str, str] = {}
        before = len(left)
        world = new_world()
        try:
            with world:
                yield from play_round(world, left, failed, barren > 0)
        except world.faults as error:  # it does not even open
            failed.update(dict.fromkeys(left, fault(error)))
        barren = 0 if len(left) < before else barren + 1
        why = next(iter(failed.values()), why)
        tries.update(failed.keys())
        given_up |= {name: failed.get(name, why) for name in left if tries[name] == TRIES or barren == BARREN}
        # What failed comes last: it may be what kills the world, and the others can do without that.
        left = {name: left[name] for name in sorted(left, key=failed.__contains__) if name not in given_up}
    if given_up:
        lines = "".join(f"\n  {name}: {why}" for name, why in given_up.items())
        raise Unplayed(
            f"{len(given_up)} of {len(wanted)} episodes have no result after {TRIES} tries, because the world they are "
            f"played in failed; nothing is scored. When it works again, the same command plays only these:{lines}"
        )


def play(
    episodes: Iterable[Episode],
    planner: Planner,
    new_world: Callable[[], World],
    make_agent: Callable[[str], Agent],
    limits: Limits,
) -> Iterator[tuple[dict[str, Any], list[Turn]]]:
    """Play the episodes, side by side; a result row and the turns as each one ends.

    Raises ``Unplayed``. Errors other than the world's own (``faults`` and ``impossible``) end the run at once.
    """

    def play_round(
        world: World, left: dict[str, Episode], failed: dict[str, str], alone: bool
    ) -> Iterator[tuple[dict[str, Any], list[Turn]]]:
        at_once = replace(limits, slots=1) if alone else limits
        for each, reason in _ends(list(left.values()), failed, planner, world, make_agent, at_once):
            del left[each.episode.id]
            yield _row(each.episode, reason, each.state.goal, each.turns), each.turns

    # Those of one strategy side by side want forecasts of one length, which is one batch; those of one page reuse it.
    ordered = sorted(episodes, key=lambda episode: (episode.strategy, episode.task, episode.seed, episode.run))
    yield from in_rounds({episode.id: episode for episode in ordered}, new_world, play_round)


def _ends(
    episodes: Iterable[Episode],
    failed: dict[str, str],
    planner: Planner,
    world: World,
    make_agent: Callable[[str], Agent],
    limits: Limits,
) -> Iterator[tuple[Running, str]]:
    """Every episode that ends, and why; those that fail by themselves go into ``failed``.

    An episode fails by itself if it was alone, or if another one still goes on a turn later: the world is alive.
    """
    pool = Pool(world)
    waiting = deque(episodes)
    running: list[Running] = []
    suspects: dict[str, str] = {}
    while waiting or running:
        earlier = dict(suspects)
        running += _begun(waiting, limits.slots - len(running), suspects, pool, world, make_agent)
        decisions = act_all([each.agent for each in running], planner, [each.state for each in running])
        reasons = _advance(running, decisions, limits, world)
        going_on, alive = [], False
        for each, decision, reason in zip(running, decisions, reasons, strict=True):
            if isinstance(reason, Exception):
                suspects[each.episode.id] = fault(reason)
                pool.discard(each.environment)
                continue
            alive = alive or decision.action is not None
            if reason is None:
                going_on.append(each)
            else:
                pool.give(each.episode.task, each.environment)
                yield each, reason
        if alive:
            failed |= earlier
            suspects = {name: why for name, why in suspects.items() if name not in earlier}
        running = going_on
    if limits.slots == 1 or len(suspects) == 1:
        failed |= suspects
    pool.close()


def _begun(
    waiting: deque[Episode],
    free: int,
    suspects: dict[str, str],
    pool: Pool,
    world: World,
    make_agent: Callable[[str], Agent],
) -> list[Running]:
    """The next episodes, as many as there are free slots; those that do not begin go into ``suspects``."""
    chosen: list[tuple[Episode, Environment]] = []
    while waiting and len(chosen) < free:
        episode = waiting.popleft()
        try:
            chosen.append((episode, pool.take(episode.task)))
            world.begins(chosen[-1][1], episode.id)
        except world.faults as error:
            if not suspects:  # else the world died before
                suspects[episode.id] = fault(error)
            waiting.clear()
    states = world.together("reset", [(environment, (episode.seed,)) for episode, environment in chosen])
    begun = []
    for (episode, environment), state in zip(chosen, states, strict=True):
        if isinstance(state, world.faults):
            suspects[episode.id] = fault(state)
            pool.discard(environment)
        else:
            agent = make_agent(episode.strategy)
            begun.append(Running(episode, agent, environment, _returned(state), time.monotonic()))
    return begun


def _advance(
    running: Sequence[Running], decisions: Sequence[Decision], limits: Limits, world: World
) -> list[str | Exception | None]:
    """Execute the decisions; why each episode is over, None where it goes on, or what kept it from its end."""
    steps = {
        index: (each.environment, (_shortened(decision.action), decision.step.instruction))
        for index, (each, decision) in enumerate(zip(running, decisions, strict=True))
        if decision.action is not None and decision.step is not None
    }
    outcomes = dict(zip(steps, world.together("step", list(steps.values())), strict=True))
    reasons: list[str | Exception | None] = []
    for index, (each, decision) in enumerate(zip(running, decisions, strict=True)):
        before = each.state
        reasons.append(
            _verdict(each, outcomes[index], limits, world)
            if index in outcomes
            else _judged(each, decision.reason, world)
        )
        if not isinstance(reasons[-1], Exception):
            _note(each, decision, before, reasons[-1])
    return reasons


def _note(each: Running, decision: Decision, before: State, reason: str | None) -> None:
    began = each.started + sum(turn.seconds for turn in each.turns)
    look = attrgetter("image" if before.elements is None else "elements")
    each.turns.append(
        Turn(
            state=before,
            decision=decision,
            seconds=time.monotonic() - began,
            outcome=reason or "",
            changed=reason == SOLVED or look(each.state) != look(before),
        )
    )


def _verdict(each: Running, outcome: Any, limits: Limits, world: World) -> str | Exception | None:
    """What a step came to."""
    if isinstance(outcome, world.impossible):
        return _judged(each, f"impossible: {outcome}", world)
    if isinstance(outcome, world.faults):
        return outcome
    each.state, done, success = _returned(outcome)
    if done:
        return world.ends[not success]
    if len(each.turns) + 1 >= (most := limits.max_steps or world.max_steps(each.episode.task)):
        return _judged(each, f"failed: no end after {most} steps", world)
    if time.monotonic() - each.started > world.seconds:
        return NoEnd(f"no end after {world.seconds:g} seconds")
    return None


def _judged(each: Running, reason: str, world: World) -> str | Exception:
    """Why an episode is over that its environment did not end."""
    try:
        return world.ends[0] if world.judge(each.environment) else reason
    except world.faults as error:
        return error


def _returned(outcome: Any) -> Any:
    """What was returned; raises what was raised, which is neither the agent's nor the world's fault."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _shortened(action: Action) -> Action:
    """A planner may ask to wait for an hour; nothing here takes more than moments."""
    return Action.of("wait", seconds=min(action.get("seconds", 1.0), LONGEST_WAIT)) if action.type == "wait" else action


def fault(error: Exception) -> str:
    """What a world said when it failed, in a line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"


def _row(episode: Episode, reason: str, goal: str, turns: Sequence[Turn]) -> dict[str, Any]:
    return {
        "id": episode.id,
        **asdict(episode),
        "success": float(reason == SOLVED),
        "steps": len(turns),
        "calls": sum(turn.decision.calls for turn in turns),
        "tokens": sum(turn.decision.tokens for turn in turns),
        "first_wrong": None if reason == SOLVED else first_wrong(turns),
        "reason": reason,
        "goal": goal,
    }
