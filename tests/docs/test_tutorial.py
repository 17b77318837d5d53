"""docs/tutorial.md, command by command, in a reader's folder: the demonstrations are scripted, the steps are fewer."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
    (folder / "examples").symlink_to(ROOT / "examples")
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "profiles:\n" in params
    (folder / "params.yaml").write_text(params.replace("profiles:\n", f"profiles:\n{block}", 1), encoding="utf-8")
    assert "shop" in yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["profiles"]
    yield folder


def typed(folder: Path, command: str, code: int = 0) -> str:
    words = shlex.split(command)
    assert words[0] == "tracer"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    given = [word for each in FEWER for word in ("--set", each)] if "--profile" in words else []
    done = subprocess.run(
        [sys.executable, "-m", *words, *given], cwd=folder, env=env, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


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
    said = {command: typed(folder, command) for command in rest}
    assert "the data has no task of the environment 'miniwob', but shop" in said["tracer run --profile shop"]
    assert "promoted" in said["tracer history"]
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")
