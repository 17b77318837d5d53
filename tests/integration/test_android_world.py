"""AndroidWorld over HTTP, against a server that behaves as the one of its image does (server/android_server.py)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI, HTTPException

from tests.services import free_port, serving
from tracer.action import Action
from tracer.config import Config
from tracer.environments import android_world
from tracer.environments.acting import UnsupportedAction
from tracer.environments.android_world import (
    SERVERS,
    TEMPLATES,
    AndroidWorldWorld,
    Emulator,
    ServerFailed,
    as_json,
)
from tracer.evaluation import online
from tracer.evaluation.episodes import Episode, Unplayed
from tracer.forecast import ForecastStep
from tracer.json_files import write_json
from tracer.planner.plan import Plan
from tracer.scoring.paired import read_summary
from tracer.scoring.score import score

WIDTH, HEIGHT = 40, 80


class Phone:
    """An emulator: a task succeeds if its button, in the middle of the screen, was tapped before the agent is done."""

    def __init__(self) -> None:
        self.app, self.actions = FastAPI(), list[dict[str, Any]]()
        self.task, self.seed, self.tapped, self.broken, self.most = "", 0, False, 0, 0
        for method, path, function in (
            ("GET", "/health", lambda: {"status": "success"}), ("POST", "/reset", self.reset),
            ("GET", "/suite/reinitialize", self.suite), ("POST", "/task/initialize", self.begin),
            ("GET", "/task/goal", self.goal), ("GET", "/screenshot", self.look), ("POST", "/execute_action", self.act),
            ("GET", "/task/score", self.score), ("POST", "/task/tear_down", self.end),
        ):  # fmt: skip
            self.app.add_api_route(path, function, methods=[method])

    def reset(self, go_home: bool) -> Any:
        assert go_home
        return {"status": "success"}

    def suite(self, n_task_combinations: int, seed: int, task_family: str) -> Any:
        assert (n_task_combinations, task_family) == (1, "android_world")
        self.seed = seed
        return {"status": "success"}

    def begin(self, task_type: str, task_idx: int) -> Any:
        if self.task or task_type not in TEMPLATES or task_idx:
            raise HTTPException(500, f"{self.task} is being played")
        self.task, self.tapped = task_type, False
        return {"status": "success"}

    def end(self, task_type: str, task_idx: int) -> Any:
        assert task_type == self.task
        self.task = ""
        return {"status": "success"}

    def goal(self, task_type: str, task_idx: int) -> Any:
        return {"goal": f"Tap the button {self.seed}."}

    def look(self, wait_to_stabilize: bool) -> Any:
        shade = 255 if self.tapped else 0
        return {"pixels": [[[shade, 0, 0]] * WIDTH] * HEIGHT}

    def act(self, action: Annotated[dict[str, Any], Body()]) -> Any:
        if self.broken:
            self.broken -= 1
            raise HTTPException(500, "the emulator is gone")
        self.actions.append(action)
        self.tapped |= action == {"action_type": "click", "x": 20, "y": 40}
        return {"status": "success"}

    def score(self, task_type: str, task_idx: int) -> Any:
        return {"score": float(self.tapped)}


class Tapper:
    """Taps the middle, then says that it is done; of odd seeds it never does."""

    name = "tapper"

    def forecast(self, states: Any, horizon: int, attempt: int = 0) -> list[Plan]:
        assert all((state.width, state.height) == (WIDTH, HEIGHT) and state.image for state in states)
        return [Plan(text="tap", forecast=(self.step(state),)) for state in states]

    def step(self, state: Any) -> ForecastStep:
        if state.history and state.goal != "Tap the button 31.":
            return ForecastStep(action=Action.of("terminate", status="success"), instruction="done")
        return ForecastStep(action=Action.of("click", x=0.5, y=0.5), instruction="tap the middle")


@pytest.fixture
def phones(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Phone, Phone]]:
    one, two = Phone(), Phone()
    with serving(one.app) as first, serving(two.app) as second:
        monkeypatch.setenv(SERVERS, f"{first}/, {second}")
        yield one, two


class Own:
    """Executes what the planner says: the elements of a screen are unknown here."""

    name = "own"

    def ground(self, state: Any, step: ForecastStep) -> Action:
        return step.action


CONFIG = Config(
    profile="test",
    evaluation={"environment": "android_world", "episodes": 1, "first_seed": 30, "max_steps": 3, "resamples": 20},
)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online.tools, "load", lambda grounding: Own())
    monkeypatch.setattr(online.planners, "load", lambda where, constrain: Tapper())


def wanted(*seeds: int) -> list[Episode]:
    return [
        Episode(strategy="react", task=name, split="heldout", seed=seed) for name in TEMPLATES[:3] for seed in seeds
    ]


def test_episodes_are_played_one_on_each_server(phones: tuple[Phone, Phone], played: None) -> None:
    rows = {row["id"]: row for row, _ in online.play_all(CONFIG, wanted(30, 31), Tapper())}
    assert {name: row["reason"] for name, row in rows.items()} == {
        f"react/{name}/{seed}": "solved" if seed == 30 else "failed: no end after 3 steps"
        for name in TEMPLATES[:3]
        for seed in (30, 31)
    }
    assert {row["goal"] for row in rows.values()} == {"Tap the button 30.", "Tap the button 31."}
    assert all(phone.actions and not phone.task for phone in phones)  # both played, and all was undone


def test_a_server_that_fails_costs_no_episode_and_one_that_stays_away_is_no_score(
    phones: tuple[Phone, Phone], played: None
) -> None:
    phones[0].broken = 1
    assert [row["success"] for row, _ in online.play_all(CONFIG, wanted(30), Tapper())] == [1.0] * 3
    for phone in phones:
        phone.broken = 1000
    with pytest.raises(Unplayed, match="3 of 3 episodes have no result"):
        list(online.play_all(CONFIG, wanted(30), Tapper()))


def test_what_was_played_is_scored_by_the_protocol(
    phones: tuple[Phone, Phone], played: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AndroidWorldWorld, "tasks", {"heldout": TEMPLATES[:4]})
    write_json(tmp_path / "model.json", {})
    online.evaluate(CONFIG, tmp_path / "model.json", tmp_path / "online")
    score("android_world", "run-py", None, tmp_path / "online", tmp_path / "scored", resamples=20)
    figures = read_summary(tmp_path / "scored")["figures"]
    assert figures["success"]["value"] == pytest.approx(4 / 116) and figures["success_finished"]["value"] == 1.0


@pytest.mark.parametrize(
    ("goal", "pixels"),
    [
        ([], []),
        ({"goal": "?"}, []),
        ({"goal": "?"}, {"pixels": [[1, 2], [3]]}),
        ({"goal": "?"}, {"pixels": [[[256, 0, 0]]]}),
        ({"goal": "?"}, {"pixels": [[["x"] * 3]]}),
    ],
)
def test_what_is_no_answer_of_the_server_is_its_fault(
    monkeypatch: pytest.MonkeyPatch, goal: object, pixels: object
) -> None:
    said = {"task/goal": goal, "screenshot": pixels}
    monkeypatch.setattr(android_world, "call", lambda _, url, *__, **___: said.get(url.removeprefix("http://phone/")))
    with pytest.raises(ServerFailed, match=r"^http://phone/.* is none of AndroidWorld's: "):
        Emulator("http://phone", TEMPLATES[0], print).reset(30)


def test_without_a_server_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVERS, raising=False)
    assert AndroidWorldWorld().version() == ("", f"{SERVERS} names no server; docs/benchmarks.md says how to start one")
    monkeypatch.setenv(SERVERS, f"http://127.0.0.1:{free_port()}")
    assert "/health: " in AndroidWorldWorld().version()[1]


def test_our_actions_as_the_server_takes_them() -> None:
    """json_action.py's names; its scroll directions are the content's, ours the finger's."""
    expected = {
        Action.of("click", x=0.0, y=1.0): [{"action_type": "click", "x": 0, "y": 99}],
        Action.of("double_click", x=1.0, y=0.0): [{"action_type": "double_tap", "x": 9, "y": 0}],
        Action.of("long_press", x=0.5, y=0.5): [{"action_type": "long_press", "x": 4, "y": 50}],
        Action.of("scroll", direction="up"): [{"action_type": "scroll", "direction": "down"}],
        Action.of("type", text="a b"): [{"action_type": "input_text", "text": "a b"}],
        Action.of("key", key="Enter"): [{"action_type": "keyboard_enter"}],
        Action.of("open_app", app="Clock"): [{"action_type": "open_app", "app_name": "Clock"}],
        Action.of("navigate_back"): [{"action_type": "navigate_back"}],
        Action.of("wait", seconds=3): [{"action_type": "wait"}],
        Action.of("answer", text="7"): [
            {"action_type": "answer", "text": "7"}, {"action_type": "status", "goal_status": "complete"}
        ],
        Action.of("terminate", status="failure"): [{"action_type": "status", "goal_status": "infeasible"}],
    }  # fmt: skip
    assert {action: as_json(action, 10, 100) for action in expected} == expected
    for action in (Action.of("key", key="Tab"), Action.of("navigate_recent"), Action.of("right_click", x=0.1, y=0.1)):
        with pytest.raises(UnsupportedAction, match="AndroidWorld has no action for"):
            as_json(action, 10, 100)
