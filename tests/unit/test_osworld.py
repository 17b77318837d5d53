"""OSWorld's actions, machines and results, with a desktop of the tests' in place of desktop-env's."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from tests.desktops import CONFIG, HEIGHT, MIDDLE, WIDTH, played, prepared
from tests.episodes import picture
from tracer.action import Action
from tracer.environments import osworld
from tracer.environments.acting import UnsupportedAction
from tracer.environments.osworld import SETTINGS, OsWorldWorld, within
from tracer.environments.pyautogui import code
from tracer.evaluation import online
from tracer.evaluation.episodes import Unplayed
from tracer.scoring.paired import read_summary
from tracer.scoring.score import score
from tracer.sources import pyautogui

CODE = {
    Action.of("click", x=0.0, y=1.0): "pyautogui.click(x=0, y=1079)",
    Action.of("double_click", x=1.0, y=0.0): "pyautogui.doubleClick(x=1919, y=0)",
    Action.of("triple_click", x=0.5, y=0.5): "pyautogui.tripleClick(x=960, y=540)",
    Action.of("right_click", x=0.5, y=0.5): "pyautogui.rightClick(x=960, y=540)",
    Action.of("middle_click", x=0.5, y=0.5): "pyautogui.middleClick(x=960, y=540)",
    Action.of("move", x=0.5, y=0.5): "pyautogui.moveTo(x=960, y=540)",
    Action.of("drag", x=0.0, y=0.0, to_x=1.0, to_y=1.0): (
        "pyautogui.moveTo(x=0, y=0); pyautogui.dragTo(x=1919, y=1079, duration=0.5, button='left')"
    ),
    Action.of("scroll", direction="up", amount=3): "pyautogui.scroll(-3)",
    Action.of("scroll", direction="down", amount=3, x=0.0, y=0.0): "pyautogui.scroll(3, x=0, y=0)",
    Action.of("scroll", direction="left", amount=0.2): "pyautogui.hscroll(1)",
    Action.of("scroll", direction="right"): "pyautogui.hscroll(-5)",
    Action.of("type", text='it\'s "{x}"\n'): "pyautogui.write('it\\'s \"{x}\"\\n')",
    Action.of("type", text="a<b", x=0.0, y=0.0): (
        "pyautogui.click(x=0, y=0); pyautogui.write('a'); pyautogui.hotkey('shift', ','); pyautogui.write('b')"
    ),
    Action.of("type", text=""): "pyautogui.write('')",
    Action.of("key", key="Enter"): "pyautogui.press('enter')",
    Action.of("key", key="arrowdown"): "pyautogui.press('down')",
    Action.of("key", key="ctrl+Shift+t"): "pyautogui.hotkey('ctrl', 'shift', 't')",
    Action.of("key", key="Control++"): "pyautogui.hotkey('ctrl', '+')",
    Action.of("key", key="Meta"): "pyautogui.press('win')",
    Action.of("wait", seconds=2): "WAIT",
    Action.of("answer", text="7"): "DONE",
    Action.of("terminate", status="success"): "DONE",
    Action.of("terminate", status="failure"): "FAIL",
}


def test_our_actions_as_code_of_pyautogui() -> None:
    assert {action: code(action, 1920, 1080) for action in CODE} == CODE
    for action, why in (
        (Action.of("open_app", app="Clock"), "has nothing for"),
        (Action.of("long_press", x=0.5, y=0.5), "has nothing for"),
        (Action.of("tool_call", name="f", arguments={}), "has nothing for"),
        (Action.of("type", text="caf\u00e9"), "cannot type '\u00e9'"),
        (Action.of("key", key="Control+Nothing"), "has no key 'Nothing'"),
    ):
        with pytest.raises(UnsupportedAction, match=why):
            code(action, 1920, 1080)


def test_the_reader_of_agentnet_reads_what_is_written() -> None:
    """On a screen of 2 by 2 pixels, where a pixel is 0 or 1, as a fraction of the screen is."""
    keys = [
        Action.of("key", key=key) for key in (*pyautogui.KEYS.values(), "Control+Alt+Delete", "Shift+F10", "a", "+")
    ]
    places = {"x": 1.0, "y": 0.0}
    for action in (
        *keys,
        *(Action.of(kind, **places) for kind in ("click", "double_click", "triple_click", "right_click", "move")),
        *(Action.of("scroll", direction=way, amount=4, **places) for way in ("up", "down", "left", "right")),
        Action.of("drag", **places, to_x=0.0, to_y=1.0), Action.of("type", text="it's\t\\n \"1\"\n"),
    ):  # fmt: skip
        assert pyautogui.actions(code(action, 2, 2)) == (action,)


class Desktop:
    """A desktop as ``DesktopEnv`` is one; ``broken`` says, by instruction and method, how often a call fails."""

    started: ClassVar[list[Any]] = []
    broken: ClassVar[Counter[tuple[str, str]]] = Counter()
    hung: ClassVar[threading.Event] = threading.Event()

    def __init__(self, **arguments: Any) -> None:
        assert arguments.pop("action_space") == "pyautogui" and not arguments.pop("require_a11y_tree")
        assert Path(arguments.pop("cache_dir")).is_dir() and arguments == {"provider_name": "docker", "headless": True}
        Desktop.started.append(self)
        self.instruction, self.codes, self.open, self.dead = "", list[str](), True, False

    def fails(self, method: str) -> bool:
        assert self.open
        left = Desktop.broken[self.instruction, method]
        Desktop.broken[self.instruction, method] -= left > 0
        return left > 0

    def reset(self, task_config: dict[str, Any]) -> None:
        self.instruction, self.codes = task_config["instruction"], []
        if self.fails("reset"):
            raise AssertionError("Setup controller cannot find init function _nothing_setup")

    def render(self) -> bytes | None:
        self.dead = self.dead or self.fails("render")
        return None if self.dead else picture(f"{len(self.codes)}", WIDTH, HEIGHT)

    def step(self, action: str, pause: float) -> tuple[dict[str, Any], int, bool, dict[str, Any]]:
        if self.fails("hang"):
            Desktop.hung.wait(10)
        self.codes.append(action)
        return {"screenshot": self.render()}, 0, action in ("DONE", "FAIL"), {}

    def evaluate(self) -> float:
        if self.fails("evaluate"):
            raise KeyError("expected")
        if self.fails("half"):
            return 0.5
        return float(MIDDLE in self.codes and not self.dead)

    def close(self) -> None:
        self.open = False


@pytest.fixture
def desktops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Desktop]:
    Desktop.started, Desktop.broken, Desktop.hung = [], Counter(), threading.Event()
    package, module = ModuleType("desktop_env"), ModuleType("desktop_env.desktop_env")
    module.DesktopEnv = Desktop  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "desktop_env", package)
    monkeypatch.setitem(sys.modules, "desktop_env.desktop_env", module)
    monkeypatch.setattr(osworld, "installed", lambda: "1.0.2")
    return Desktop


def test_tasks_are_played_and_scored(desktops: type[Desktop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that the agent never ends, or ends with what no desktop can do: their state counts all the same."""
    goals = ["one", "go on", "a phone", "half", "half on"]
    prepared(monkeypatch, tmp_path, goals)
    desktops.broken |= {("half", "half"): 1, ("half on", "half"): 1}
    online.run(CONFIG, tmp_path / "model", tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(list(tmp_path.glob("osworld/pyautogui/screenshot/react-0/*/*/result.txt"))) == len(goals)
    ends = ["solved"] * 3 + ["failed: the task's evaluator says so", "failed: no end after 3 steps"]
    assert [row["reason"] for row in rows] == ends
    assert len(desktops.started) == 1 and not desktops.started[0].open  # one for all, and stopped in the end


def test_the_results_are_a_folder_of_osworlds_runner(
    desktops: type[Desktop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = prepared(monkeypatch, tmp_path, ["one", "go on", "half"])
    desktops.broken["half", "half"] = 1
    out = tmp_path / "played"
    stale = out / "osworld/pyautogui/screenshot/react-0" / tasks[0]
    stale.mkdir(parents=True)
    (stale / "step_9_1.png").touch()  # of a try that was killed
    played(tasks, out)
    results = show_result(out / "osworld", "pyautogui", "screenshot", "react-0")
    assert results == {task: score for task, score in zip(tasks, [1.0, 1.0, 0.5], strict=True)}
    lines = [json.loads(line) for line in (stale / "traj.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["step_num"], line["action"], line["done"]) for line in lines] == [
        (1, MIDDLE, False),
        (2, "DONE", True),
    ]
    assert sorted(path.name for path in stale.glob("*.png")) == [line["screenshot_file"] for line in lines]
    score("osworld", "verified-50", None, out, tmp_path / "scored", resamples=20)
    figures = read_summary(tmp_path / "scored")["figures"]
    assert figures["success"]["value"] == pytest.approx(2.5 / 361)
    assert figures["success_finished"]["value"] == pytest.approx(2.5 / 3)


def show_result(folder: Path, action_space: str, observation: str, model: str) -> dict[str, float]:
    """The results that OSWorld's show_result.py finds with these arguments."""
    found = (folder / action_space / observation / model).glob("*/*/result.txt")
    return {f"{path.parts[-3]}/{path.parts[-2]}": float(path.read_text(encoding="utf-8")) for path in found}


@pytest.mark.parametrize("method", ["reset", "render", "hang", "evaluate"])
def test_a_machine_that_fails_costs_no_task_and_one_that_stays_broken_is_no_score(
    desktops: type[Desktop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    tasks = prepared(monkeypatch, tmp_path, ["one", "two", "three"], machines=2, step_timeout=0.3)
    desktops.broken["two", method] = 1
    assert played(tasks, tmp_path / "first") == dict.fromkeys(tasks, "solved")
    assert len(desktops.started) > 2  # another took the place of the one that failed
    desktops.broken["two", method] = 1000
    with pytest.raises(Unplayed, match=rf"1 of 3 episodes have no result(?s:.*){tasks[1]}"):
        played(tasks, tmp_path / "second")
    desktops.hung.set()
    assert not any(desktop.open for desktop in desktops.started)
    found = show_result(tmp_path / "second/osworld", "pyautogui", "screenshot", "react-0")
    assert found == {tasks[0]: 1.0, tasks[2]: 1.0}


def test_a_machine_that_dies_before_it_is_evaluated_is_not_wrong(
    desktops: type[Desktop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = prepared(monkeypatch, tmp_path, ["one"])
    evaluate = desktops.evaluate

    def dies(desktop: Desktop) -> float:
        monkeypatch.setattr(Desktop, "evaluate", evaluate)
        desktop.dead = True
        return evaluate(desktop)

    monkeypatch.setattr(Desktop, "evaluate", dies)
    assert played(tasks, tmp_path / "out") == {tasks[0]: "solved"} and len(desktops.started) == 2


def test_a_call_that_takes_too_long_is_left_to_itself() -> None:
    began, never = time.monotonic(), threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 seconds"):
        within(0.1, never.wait)
    never.set()
    assert time.monotonic() - began < 5

    def late() -> None:
        raise TimeoutError("VM failed to become ready")

    with pytest.raises(TimeoutError, match="VM failed to become ready"):
        within(5, late)


def test_what_is_missing_is_named(desktops: type[Desktop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = prepared(monkeypatch, tmp_path, ["one"])
    assert OsWorldWorld().version() == ("desktop-env 1.0.2, docker", "")
    (tmp_path / "examples" / f"{tasks[0]}.json").unlink()
    assert f"lacks 1 tasks, such as {tasks[0]}.json" in OsWorldWorld().version()[1]
    monkeypatch.setattr(osworld, "installed", lambda: "")
    assert OsWorldWorld().version()[1].startswith("desktop-env is not installed")
    (tmp_path / "osworld.yaml").write_text("tasks: here\nmachine: 1\n", encoding="utf-8")
    assert OsWorldWorld().version()[1].endswith("osworld.yaml: machine: Extra inputs are not permitted")
    (tmp_path / "osworld.yaml").write_bytes(b"\xff\xfe")
    assert "osworld.yaml: " in OsWorldWorld().version()[1]
    monkeypatch.setenv(SETTINGS, str(tmp_path / "none.yaml"))
    assert "none.yaml" in OsWorldWorld().version()[1]
    monkeypatch.delenv(SETTINGS)
    assert OsWorldWorld().version()[1].startswith(f"{SETTINGS} names no file")
    assert OsWorldWorld().slots is None
