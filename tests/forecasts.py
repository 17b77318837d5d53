"""Screens, trajectories and a planner whose answers are known: what evaluations are tested with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from tests.episodes import HEIGHT, WIDTH, picture
from tracer.action import Action
from tracer.dataset import write_shards
from tracer.forecast import ForecastStep, reference
from tracer.grammars.pointing import Pointing
from tracer.instruction import describe
from tracer.planner.plan import Plan
from tracer.trajectory import Box, Element, State, Step, Trajectory, centre, state_at

BOXES: dict[str, Box] = {"One": (0.1, 0.2, 0.4, 0.3), "Two": (0.5, 0.2, 0.9, 0.3), "Send": (0.1, 0.6, 0.4, 0.7)}


def elements(*texts: str, role: str = "button") -> tuple[Element, ...]:
    return tuple(Element(role=role, text=text, box=BOXES[text]) for text in texts)


SCREEN = elements("One", "Two", "Send")


def state(
    goal: str = 'Click "One" and send it', shown: tuple[Element, ...] = SCREEN, image: bytes | None = None
) -> State:
    return State(goal=goal, image=image, width=WIDTH, height=HEIGHT, elements=shown)


def click(text: str, shown: tuple[Element, ...] = SCREEN) -> ForecastStep:
    """A click on the element of that text; without a place if it is not shown."""
    element = Element(role="button", text=text, box=BOXES[text])
    x, y = centre(element.box)
    action = Action.of("click", x=x, y=y)
    instruction = describe(action, element)
    if element not in shown:
        return ForecastStep(action=Action("click"), instruction=instruction)
    return ForecastStep(action=action, instruction=instruction, target=element.box)


def typing(text: str) -> ForecastStep:
    action = Action.of("type", text=text)
    return ForecastStep(action=action, instruction=describe(action))


def trajectory(number: int, split: str = "test", task: str = "send-two") -> Trajectory:
    """Three clicks; the goal and the pictures carry the number."""
    steps = tuple(
        Step(
            action=step.action,
            instruction=step.instruction,
            image=picture(f"{task} {number} {index}"),
            width=WIDTH,
            height=HEIGHT,
            elements=SCREEN,
            target=step.target,
        )
        for index, step in enumerate([click("One"), click("Two"), click("Send")])
    )
    goal = f'Click "One", "Two" and "Send" in round {number} of {task}'
    return Trajectory(
        id=f"test/{task}/{number}", source="test", split=split, task=task, goal=goal, steps=steps, outcome="success"
    )


def sample() -> list[Trajectory]:
    return [
        trajectory(number, split, task)
        for split, tasks in (("heldout", ("far", "farther")), ("test", ("near",)))
        for task in tasks
        for number in range(4)
    ]


def shards(folder: Path, found: Sequence[Trajectory]) -> Path:
    write_shards(found, folder)
    return folder


class Oracle:
    """A planner that knows the demonstrations, and errs in a share of the steps and answers, by the state alone."""

    def __init__(self, known: Sequence[Trajectory], *, right: float = 1.0, parsed: float = 1.0) -> None:
        self.name = f"oracle {right}"
        self._known = {(t.goal, len(state_at(t, i).history)): (t, i) for t in known for i in range(len(t.steps))}
        self._right = right
        self._parsed = parsed
        self.batches: list[int] = []

    def forecast(self, states: Sequence[State], horizon: int, attempt: int = 0) -> list[Plan]:
        self.batches.append(len(states))
        return [self._plan(each, horizon) for each in states]

    def _plan(self, seen: State, horizon: int) -> Plan:
        found, index = self._known[seen.goal, len(seen.history)]
        draw = random.Random(f"{seen.goal}/{index}")
        steps = [
            step if draw.random() < self._right else click("Two" if "One" in step.instruction else "One")
            for step in reference(found, index, horizon)
        ]
        text = Pointing().format(steps, seen) if draw.random() < self._parsed else "klick 4"
        reading = Pointing().read(text, seen, horizon)
        return Plan(text=text, forecast=reading.forecast, error=reading.error)
