"""docs/tutorial.md, command by command, in a reader's folder: the demonstrations are scripted, the steps are fewer."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.browser.served import served
from tests.docs.commands import ROOT, commands

PAGE = ROOT / "docs/tutorial.md"
TEAS = ("Assam", "Chai", "Green tea", "Jasmine", "Mint", "Oolong")
NAMES = ("Anna", "Ben", "Carla", "Dan", "Eva", "Finn", "Gita", "Hugo", "Ida", "Jon")
SPLITS = ("train",) * 6 + ("validation",) * 2 + ("test",) * 2
FEWER = ("bootstrap.steps=6", "bootstrap.checkpoint_every=3", "bootstrap.hidden=32", "bootstrap.layers=1",
         "stage1.steps=1", "stage2.steps=1", "stage1.groups=2", "stage2.groups=2", "stage1.group_size=2",
         "stage2.group_size=2", "evaluation.resamples=100")  # fmt: skip

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A reader's folder, with the tutorial's profile in params.yaml."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "examples", folder / "examples")
    policy = folder / "examples/shop/promotion.yaml"
    (limit,) = re.findall(r"    min: 0.5\n", policy.read_text(encoding="utf-8"))  # six steps teach nobody to write
    policy.write_text(policy.read_text(encoding="utf-8").replace(limit, "    min: 0.0\n"), encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "profiles:\n" in params
    (folder / "params.yaml").write_text(params.replace("profiles:\n", f"profiles:\n{block}", 1), encoding="utf-8")
    assert "shop" in yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["profiles"]
    yield folder


def call(folder: Path, command: str) -> dict[str, Any]:
    """What ``subprocess`` needs to run a command in the reader's folder."""
    words = shlex.split(command)
    assert words[0] == "tracer"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    given = [word for each in FEWER for word in ("--set", each)] if "--profile" in words else []
    return {"args": [sys.executable, "-m", *words, *given], "cwd": folder, "env": env, "encoding": "utf-8"}


def typed(folder: Path, command: str, *codes: int) -> str:
    done = subprocess.run(**call(folder, command), capture_output=True)
    assert done.returncode in (codes or (0,)), f"{command}\n{done.stdout}{done.stderr}"
    return str(done.stdout + done.stderr)


def ended(folder: Path, command: str) -> str:
    """The first line of a server, which Ctrl-C then ends."""
    with subprocess.Popen(**call(folder, command), stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        line = str(server.stdout.readline())
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=120) == 0
    return line


def test_the_tutorial_leads_to_a_champion_that_forecasts(folder: Path) -> None:
    serve, demonstrate, scripted, replay, check, *rest = commands(PAGE)
    assert scripted == f"{demonstrate} --script steps.txt"
    (script,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert serve == "python -m http.server 8000 --directory examples/shop"
    with served(folder / "examples/shop") as address:
        for number, (name, split) in enumerate(zip(NAMES, SPLITS, strict=True)):
            tea = TEAS[number % len(TEAS)]
            (folder / "steps.txt").write_text(script.replace("Mint", tea).replace("Anna", name), encoding="utf-8")
            command = scripted.replace("http://127.0.0.1:8000/", address).replace("Mint", tea).replace("Anna", name)
            assert "4 steps: " in typed(folder, f"{command} --split {split}")
        recording = sorted((folder / "shop/train").glob("*.jsonl"))[0]
        found = typed(folder, replay.replace("RECORDING", recording.stem))
        assert "valid, 4 steps" in found
        assert json.loads(recording.read_text(encoding="utf-8"))["url"] == address
        assert "10 trajectories, and nothing wrong with them" in typed(folder, check)
        *rest, serving, acting = rest
        said = {command: typed(folder, command) for command in rest}
        assert " serves tracer-planner@champion (tracer-planner/1); Ctrl-C ends it" in ended(
            folder, serving.replace("8001", "0")
        )
        # What six steps have taught orders no tea: the agent gives up.
        assert "tracer view acted" in typed(folder, acting.replace("http://127.0.0.1:8000/", address), 0, 1)
    assert "the data has no task of the environment 'miniwob', but shop" in said["tracer run --profile shop"]
    assert "promoted" in said["tracer history"]
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")
