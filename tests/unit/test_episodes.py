"""A world that dies under its episodes costs none of them, and the episode that kills it costs no other."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tracer.action import Action
from tracer.agents.agent import Agent
from tracer.environments.environment import World
from tracer.evaluation import episodes
from tracer.evaluation.episodes import Episode, Limits, Unplayed
from tracer.forecast import ForecastStep
from tracer.planner.plan import Plan
from tracer.trajectory import State

LIMITS = Limits(slots=12, max_steps=9)
STEP = ForecastStep(action=Action.of("wait", seconds=0.0), instruction="wait")


class Dead(Exception):
    """What this world fails with."""


class Fragile(World):
    """Its episodes take one to five steps. It dies when ``dies`` says so, and then answers nothing any more."""

    opened = 0
    faults = (Dead,)

    def __init__(self, dies: Any) -> None:
        super().__init__()
        Fragile.opened += 1
        self.dead, self.dies = False, dies

    def version(self) -> tuple[str, str]:
        return "1", ""

    def open(self, task: str) -> Any:
        self.ask(task, -1)
        return Place(self, task)

    def ask(self, task: str, seed: int) -> None:
        self.dead = self.dead or self.dies(task, seed)
        if self.dead:
            raise Dead("gone")


class Place:
    def __init__(self, world: Fragile, task: str) -> None:
        self.world, self.task = world, task

    def reset(self, seed: int) -> State:
        self.seed, self.left = seed, 1 + seed % 5
        self.world.ask(self.task, seed)
        return State(goal=f"wait {self.left} times")

    def step(self, action: Action, instruction: str | None = None) -> tuple[State, bool, bool]:
        self.world.ask(self.task, self.seed)
        self.left -= 1
        return State(goal="wait", history=(str(self.left),)), not self.left, True

    def close(self) -> None:
        pass


class Waiter:
    name = "waiter"

    def forecast(self, states: Any, horizon: int, attempt: int = 0) -> list[Plan]:
        return [Plan(text="wait", forecast=(STEP,) * horizon) for _ in states]


class Hand:
    name = "hand"

    def ground(self, state: State, step: ForecastStep) -> Action:
        return step.action


def play(wanted: list[Episode], dies: Any) -> list[dict[str, Any]]:
    Fragile.opened = 0
    played = episodes.play(wanted, Waiter(), lambda: Fragile(dies), lambda name: Agent(Hand(), 1), LIMITS)
    return [row for row, _ in played]


def made(count: int) -> list[Episode]:
    """As many episodes, of tasks with ten seeds each."""
    return [Episode(strategy="s", task=f"task{n // 10:02}", split="test", seed=n % 10) for n in range(count)]


@pytest.mark.parametrize("seed", range(10))
def test_of_500_episodes_none_is_lost_to_a_world_that_dies_about_every_20(seed: int) -> None:
    drawn = random.Random(seed)
    rows = play(made(500), lambda task, number: drawn.random() < 1 / 100)  # an episode asks five times on average
    assert Fragile.opened > 20
    assert Counter(row["success"] for row in rows) == {1.0: 500}
    assert {row["id"] for row in rows} == {each.id for each in made(500)}


@pytest.mark.parametrize("killers", [1, 4, 10])
def test_who_kills_the_world_is_given_up_and_nobody_else(killers: int) -> None:
    wanted = made(60)
    deadly = {each.id for each in wanted[20 : 20 + killers]}
    rows = []
    with pytest.raises(Unplayed, match=f"{killers} of 60 episodes have no result after 3 tries") as raised:
        for row in episodes.play(
            wanted,
            Waiter(),
            lambda: Fragile(lambda task, seed: f"s/{task}/{seed}" in deadly),
            lambda name: Agent(Hand(), 1),
            LIMITS,
        ):
            rows.append(row[0])
    assert {row["id"] for row in rows} == {each.id for each in wanted} - deadly
    assert {line.split(":")[0].strip() for line in str(raised.value).splitlines()[1:]} == deadly


def test_a_task_that_does_not_open_keeps_no_other_from_its_end() -> None:
    rows: list[dict[str, Any]] = []
    with pytest.raises(Unplayed, match="10 of 60 episodes"):
        rows += play(made(60), lambda task, seed: (task, seed) == ("task02", -1))


def test_a_world_that_always_dies_is_not_opened_for_every_episode() -> None:
    with pytest.raises(Unplayed, match="500 of 500 episodes have no result"):
        play(made(500), lambda task, seed: seed >= 0)
    assert Fragile.opened <= episodes.BARREN + 3
