"""OSWorld for the tests: its settings and tasks, and a planner that clicks the middle of the screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tracer.action import Action
from tracer.config import Config
from tracer.environments.osworld import SETTINGS, TASKS, OsWorldWorld
from tracer.evaluation import online
from tracer.evaluation.episodes import Episode
from tracer.forecast import ForecastStep
from tracer.planner.plan import Plan

WIDTH, HEIGHT = 192, 108
MIDDLE = "pyautogui.click(x=96, y=54)"
CONFIG = Config(
    profile="test",
    evaluation={
        "environment": "osworld",
        "episodes": 1,
        "first_seed": 0,
        "max_steps": 3,
        "strategies": ["react"],
        "resamples": 20,
        "online": True,
    },
)


class Clicker:
    """Clicks the middle, then says that it is done; of a goal that ends in "on" it never does, and of one that ends in
    "phone" it does what no desktop can."""

    name = "clicker"

    def forecast(self, states: Any, horizon: int, attempt: int = 0) -> list[Plan]:
        assert all((state.width, state.height) == (WIDTH, HEIGHT) and state.image for state in states)
        return [Plan(text="click", forecast=(self.step(state),)) for state in states]

    def step(self, state: Any) -> ForecastStep:
        action = Action.of("click", x=0.5, y=0.5)
        if state.history and not state.goal.endswith(" on"):
            phone = state.goal.endswith(" phone")
            action = Action.of("navigate_home") if phone else Action.of("terminate", status="success")
        return ForecastStep(action=action, instruction=action.type)


class Own:
    """Executes what the planner says: the elements of a screen are unknown here."""

    name = "own"

    def ground(self, state: Any, step: ForecastStep) -> Action:
        return step.action


def prepared(monkeypatch: pytest.MonkeyPatch, folder: Path, goals: list[str], **settings: Any) -> list[str]:
    """The first tasks with these goals, as an OSWorld checkout holds them; their ids. A click is what solves them."""
    ids = list(TASKS[: len(goals)])
    for task, goal in zip(ids, goals, strict=True):
        path = folder / "examples" / f"{task}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        evaluator = {
            "func": "exact_match",
            "result": {"type": "vm_command_line", "command": ["cat", "clicked"]},
            "expected": {"type": "rule", "rules": {"expected": "yes"}},
        }
        setup = [{"type": "execute", "parameters": {"command": ["rm", "clicked"]}}]
        line = {"id": Path(task).name, "instruction": goal, "config": setup, "evaluator": evaluator}
        path.write_text(json.dumps(line), encoding="utf-8")
    waits = {"ready_seconds": 0, "settle_seconds": 0, "pause_seconds": 0}
    text = json.dumps({"tasks": str(folder / "examples")} | waits | settings)  # JSON is YAML
    (folder / "osworld.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv(SETTINGS, str(folder / "osworld.yaml"))
    monkeypatch.setattr(OsWorldWorld, "tasks", {"heldout": tuple(ids)})
    monkeypatch.setattr(online.tools, "load", lambda grounding: Own())
    monkeypatch.setattr(online.planners, "load", lambda where, constrain: Clicker())
    return ids


def played(tasks: list[str], folder: Path) -> dict[str, str]:
    """How the episodes of the tasks ended, played into the folder; raises ``Unplayed``."""
    wanted = [Episode(strategy="react", task=task, split="heldout", seed=0) for task in tasks]
    return {row["task"]: row["reason"] for row, _ in online.play_all(CONFIG, wanted, Clicker(), folder)}
