"""The example of docs/plugins.md, installed as another package, is found and used, and its code counts."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed in, as pip installs it, without the network."""
    source = shutil.copytree(ROOT / "examples" / "plugin", tmp_path_factory.mktemp("source") / "plugin")
    target = tmp_path_factory.mktemp("target")
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)], check=True)
    return target


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two sessions of two clicks, and one that clicks off its screen."""
    folder = tmp_path / "logs"
    folder.mkdir()
    Image.new("RGB", (100, 200), "white").save(folder / "home.png")
    for name, places in {"open it": [(50, 50), (99, 199)], "close it": [(1, 2), (3, 4)], "lost": [(500, 1)]}.items():
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "x", "y", "label"])
            rows.writerows(["home.png", x, y, f"button {x}"] for x, y in places)
    return folder


def run(target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(target), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


def ingest(target: Path, logs: Path, out: Path) -> dict[str, Any]:
    done = run(target, "-m", "tracer", "ingest", "click_log", str(logs), "--out", str(out), "--option", "split=test")
    assert done.returncode == 0, done.stderr
    lineage: dict[str, Any] = json.loads((out / "lineage.json").read_text(encoding="utf-8"))
    return lineage


def test_the_source_is_ingested(installed: Path, logs: Path, tmp_path: Path) -> None:
    lineage = ingest(installed, logs, tmp_path / "out")
    assert lineage["metrics"] == {"trajectories": 2, "steps": 4, "rejected": 1, "dvc_md5": None}
    assert list((tmp_path / "out").glob("test-*.parquet"))
    checked = run(installed, "-m", "tracer", "ingest", "click_log", str(logs), "--check")
    assert checked.returncode == 1
    assert checked.stdout.startswith("lost.csv, row 2: unreadable click: ")


def test_an_edit_of_the_plugin_is_another_digest(installed: Path, logs: Path, tmp_path: Path) -> None:
    before = ingest(installed, logs, tmp_path / "out")
    assert ingest(installed, logs, tmp_path / "out") == before
    module = installed / "tracer_example" / "click_log.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text.replace('task="clicks"', 'task="sessions"'), encoding="utf-8")
    try:
        after = ingest(installed, logs, tmp_path / "out")
    finally:
        module.write_text(text, encoding="utf-8")
    assert after["digest"] != before["digest"]
    assert after["output"] != before["output"]


AGENT = """
from tests.forecasts import click, state
from tracer import plugins
from tracer.planner.plan import Plan
from tracer.config import Config
from tracer.tools.elements import ElementLocator

config = Config(profile="test", evaluation={"strategies": ["two_steps"]})
agent = plugins.load(plugins.AGENTS, config.evaluation.strategies[0])(ElementLocator(), 5)
plan = Plan(text="", forecast=(click("One"), click("Two"), click("Send")))
for _ in range(3):
    wanted = agent.wants(state())
    print(wanted, agent.act(state(), plan if wanted else None).step.instruction)
"""


def test_the_agent_is_a_strategy_of_the_evaluation(installed: Path) -> None:
    done = run(installed, "-c", AGENT)
    assert done.stdout.splitlines() == [
        '5 click the button "One"',
        '0 click the button "Two"',
        '5 click the button "One"',
    ]
    without = run(installed.parent, "-c", AGENT)
    assert "unknown agent 'two_steps'; there are: anticipatory, blind, cot, mcts, prompted, react" in without.stderr
