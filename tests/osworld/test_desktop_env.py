"""The classes of desktop-env, over a machine of the tests' that speaks their HTTP: `make osworld` installs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI, HTTPException, Response

from tests.desktops import CONFIG, HEIGHT, MIDDLE, WIDTH, played, prepared
from tests.episodes import picture
from tests.services import serving
from tracer.action import Action
from tracer.environments.osworld import MachineFailed, OsWorldWorld
from tracer.environments.pyautogui import code
from tracer.evaluation import online
from tracer.evaluation.episodes import Unplayed
from tracer.scoring.paired import read_summary
from tracer.scoring.score import score

pytestmark = pytest.mark.osworld
PREFIX = "import pyautogui; import time; pyautogui.FAILSAFE = False; "


class Vm:
    """The server inside a machine (desktop_env/server of OSWorld): what ``DesktopEnv`` and its controllers call."""

    def __init__(self) -> None:
        self.app, self.codes, self.reverted = FastAPI(), list[str](), 0
        self.broken = dict.fromkeys(("screenshot", "cat"), 0)
        """How often each still fails."""
        for method, path, function in (
            ("GET", "/screenshot", self.look), ("GET", "/terminal", lambda: {"output": "", "status": "success"}),
            ("POST", "/execute", self.execute), ("POST", "/setup/execute", self.set_up),
        ):  # fmt: skip
            self.app.add_api_route(path, function, methods=[method])

    def fails(self, name: str) -> bool:
        left, self.broken[name] = self.broken[name], max(0, self.broken[name] - 1)
        return left > 0

    def look(self) -> Response:
        if self.fails("screenshot"):
            raise HTTPException(500, "the machine is gone")
        return Response(picture(f"{len(self.codes)}", WIDTH, HEIGHT), media_type="image/png")

    def execute(self, asked: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        assert asked["shell"] is False
        if asked["command"] == ["cat", "clicked"]:
            if self.fails("cat"):
                return {"status": "error"}  # for which desktop-env raises KeyError
            found = "yes" if MIDDLE in self.codes else "no"
            return {"status": "success", "output": found, "error": "", "returncode": 0}
        python, option, written = asked["command"]
        assert (python, option) == ("python", "-c") and written.startswith(PREFIX)
        compile(written, "code", "exec")
        self.codes.append(written.removeprefix(PREFIX))
        return {"status": "success", "output": "", "error": "", "returncode": 0}

    def set_up(self, asked: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        assert asked["command"] == ["rm", "clicked"]
        self.codes.clear()
        return {"status": "success", "output": "", "error": "", "returncode": 0}


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vm]:
    """A machine that a provider which starts nothing leads to."""
    from desktop_env import desktop_env
    from desktop_env.controllers import python, setup
    from desktop_env.providers.base import Provider

    machine = Vm()

    class Nothing(Provider):
        def start_emulator(self, path_to_vm: str, headless: bool, os_type: str) -> None: ...

        def get_ip_address(self, path_to_vm: str) -> str:
            return f"127.0.0.1:{address.rpartition(':')[2]}:9222:8006:8080"

        def save_state(self, path_to_vm: str, snapshot_name: str) -> None: ...

        def revert_to_snapshot(self, path_to_vm: str, snapshot_name: str) -> str:
            machine.reverted += 1
            return path_to_vm

        def stop_emulator(self, path_to_vm: str) -> None: ...

    with serving(machine.app) as address:
        provider = Nothing()
        monkeypatch.setattr(desktop_env, "create_vm_manager_and_provider", lambda *_, **__: (None, provider))
        for module in (desktop_env, python, setup):  # they wait five seconds before they try again
            monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
        yield machine


def ready(monkeypatch: pytest.MonkeyPatch, folder: Path, goals: list[str]) -> list[str]:
    return prepared(monkeypatch, folder, goals, desktop={"provider_name": "docker", "path_to_vm": "nothing"})


def test_episodes_of_the_plan_act_loop_are_scored(vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = ready(monkeypatch, tmp_path, ["one", "go on", "a phone"])
    assert OsWorldWorld().version() == ("desktop-env 1.0.2, docker", "")
    out = tmp_path / "played"
    out.mkdir()
    online.run(CONFIG, tmp_path / "model", out)
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["reason"], row["steps"], row["goal"]) for row in rows] == [
        ("solved", 2, "one"), ("solved", 3, "go on"), ("solved", 2, "a phone")
    ]  # fmt: skip
    assert vm.reverted == 2  # before the second and the third
    folder = out / "osworld/pyautogui/screenshot/react-0" / tasks[0]
    assert (folder / "result.txt").read_text(encoding="utf-8") == "1.0\n"
    lines = [json.loads(line) for line in (folder / "traj.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["action"], line["done"], line["info"]) for line in lines] == [
        (MIDDLE, False, {}), ("DONE", True, {"done": True})
    ]  # fmt: skip
    assert (folder / lines[0]["screenshot_file"]).read_bytes() == picture("1", WIDTH, HEIGHT)
    score("osworld", "verified-50", None, out, tmp_path / "scored", resamples=20)
    figures = read_summary(tmp_path / "scored")["figures"]
    assert figures["success"]["value"] == pytest.approx(3 / 361) and figures["success_finished"]["value"] == 1.0


# desktop-env asks three times for a screenshot, and we ask it again after a task was set up.
@pytest.mark.parametrize(("broken", "times"), [("screenshot", 6), ("cat", 1)])
def test_what_fails_once_costs_no_task(
    vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, times: int
) -> None:
    tasks = ready(monkeypatch, tmp_path, ["one", "two"])
    vm.broken[broken] = times
    assert played(tasks, tmp_path / "out") == dict.fromkeys(tasks, "solved")
    vm.broken[broken] = 1000
    with pytest.raises(Unplayed, match="2 of 2 episodes have no result"):
        played(tasks, tmp_path / "again")
    assert not list((tmp_path / "again").rglob("result.txt"))


def test_a_task_that_cannot_be_set_up_says_so(vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = ready(monkeypatch, tmp_path, ["one"])
    path = tmp_path / "examples" / f"{tasks[0]}.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"execute"', '"nothing"'), encoding="utf-8")
    with OsWorldWorld() as world, pytest.raises(MachineFailed, match="cannot find init function _nothing_setup"):
        world.open(tasks[0]).reset(0)


def test_desktop_env_runs_every_action_as_it_is_written(
    vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rewrites some code before it sends it."""
    tasks = ready(monkeypatch, tmp_path, ["one"])
    actions = [
        Action.of("type", text="it's \"{a}\" <b>\n\\u003c"), Action.of("key", key="Control+a"),
        Action.of("drag", x=0.1, y=0.1, to_x=0.5, to_y=0.5), Action.of("scroll", direction="up", x=0.5, y=0.5),
    ]  # fmt: skip
    with OsWorldWorld() as world:
        machine = world.open(tasks[0])
        machine.reset(0)
        for action in actions:
            assert machine.step(action)[1:] == (False, False)
        assert vm.codes == [code(action, WIDTH, HEIGHT) for action in actions]
        assert machine.step(Action.of("terminate", status="failure"))[1:] == (True, False)
