"""Another package replaces every part of an evaluation: world, planner, tool agent and benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer import plugins
from tracer.cli import main
from tracer.config import Config
from tracer.evaluation import online
from tracer.evaluation.results import read_rows, read_scores
from tracer.scoring.evaluate import evaluate
from tracer.scoring.paired import read_summary
from tracer.scoring.score import score

CODE = '''
from tracer.action import Action
from tracer.benchmarks.miniwob import MiniWob
from tracer.environments.environment import World
from tracer.forecast import ForecastStep
from tracer.planner.plan import Plan
from tracer.trajectory import State


class Bell(World):
    """A bell that has to be rung as often as the seed says."""

    tasks = {"test": ("ring",), "heldout": ("ring-twice",)}

    def version(self):
        return "1", ""

    def open(self, task):
        return Ringing(2 if task == "ring-twice" else 1)


class Ringing:
    def __init__(self, factor):
        self.factor = factor

    def reset(self, seed):
        self.left = seed % 10 * self.factor
        return State(goal=f"ring {self.left} times")

    def step(self, action, instruction=None):
        self.left -= action.get("name") == "bell"
        return State(goal="ring", history=(instruction,)), self.left == 0, self.left == 0

    def close(self):
        pass


class Hand:
    """Executes what it is given."""

    name = "hand"

    def ground(self, state, step):
        return step.action


class Ringer:
    name = "ringer"

    def forecast(self, states, horizon, attempt=0):
        step = ForecastStep(action=Action.of("tool_call", name="bell", arguments={}), instruction="ring the bell")
        return [Plan(text="ring", forecast=(step,) * horizon) for _ in states]


def ringer(folder):
    return Ringer()


class BellBenchmark(MiniWob):
    environment = "bell"
'''
ENTRIES = """
[tracer.environments]
bell = bells.parts:Bell
[tracer.tools]
hand = bells.parts:Hand
[tracer.planners]
ringer = bells.parts:ringer
[tracer.benchmarks]
bells = bells.parts:BellBenchmark
"""
PROTOCOLS = """
default: three
common:
  version: 1
  source: [here]
  items: { set: bells, count: 2, unit: episode }
  metrics: { success: { kind: pooled } }
  primary: success
protocols:
  three:
    title: Bells
    match: { rule: raw_reward, strategy: blind, pages: [ring], first_seed: 3, episodes: 2 }
    decoding: { max_steps: 3 }
"""


@pytest.fixture
def bells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A planner's folder, with the package ``bells`` installed."""
    site = tmp_path / "site"
    for name, text in {
        "bells-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: bells\nVersion: 1.0\n",
        "bells-1.0.dist-info/entry_points.txt": ENTRIES,
        "bells/__init__.py": "",
        "bells/parts.py": CODE,
        "bells/protocols/bells.yaml": PROTOCOLS,
        "planner/planner.json": json.dumps({"backend": "ringer"}),
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    plugins._entries.cache_clear()
    yield site / "planner"
    plugins._entries.cache_clear()


def test_a_world_a_planner_and_a_tool_agent_of_another_package(bells: Path, tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "profile": "test",
            "grounding": {"agent": "hand"},
            "evaluation": {"environment": "bell", "first_seed": 1, "episodes": 3, "max_steps": 5, "resamples": 20},
        }
    )
    online.evaluate(config, bells, tmp_path / "out")
    scores = read_scores(tmp_path / "out")["strategies"]
    assert scores["anticipatory"]["test"]["metrics"]["success"]["mean"] == 1.0
    assert scores["blind"]["heldout"]["metrics"]["success"]["mean"] == pytest.approx(2 / 3)  # six rings are too many
    assert {row["task"] for row in read_rows(tmp_path / "out")} == {"ring", "ring-twice"}


def test_agents_are_compared_on_the_same_episodes(
    bells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("profile: bells\nprofiles: {bells: {grounding: {agent: hand}}}")
    (tmp_path / "docs").mkdir()
    played = {"environment": "bell", "first_seed": 1, "episodes": 3, "max_steps": 5, "resamples": 20}
    command = ["compare-agents", "--json", "--model", str(bells), "--set", "evaluation.strategies=[anticipatory,blind]"]
    command += [word for name, value in played.items() for word in ("--set", f"evaluation.{name}={value}")]
    assert main(command) == 0
    loop, blind = json.loads(capsys.readouterr().out)["cells"]
    assert (loop["planner"], loop["strategy"], blind["strategy"]) == (str(bells), "anticipatory", "blind")
    assert loop["splits"]["test"]["over"] == {"strategy": None, "planner": None}
    heldout = blind["splits"]["heldout"]  # two, four and six rings, of which five may be done
    assert heldout["episodes"] == 3 and heldout["metrics"]["success"]["mean"] == pytest.approx(2 / 3)
    assert heldout["over"]["strategy"]["mean"] == 0.0
    # The loop forecasts before each of its one, two and three steps; who acts blindly forecasts once.
    calls = [each["splits"]["test"]["metrics"]["calls"]["mean"] for each in (loop, blind)]
    assert calls == [2.0, 1.0] and 0 <= loop["splits"]["test"]["metrics"]["seconds"]["mean"] < 60
    page = (tmp_path / "docs" / "agents.md").read_text(encoding="utf-8")
    assert f"| heldout | {bells} | blind | 3 | 66.7 [" in page
    assert (tmp_path / "docs" / "agents" / "bells.svg").stat().st_size > 1000
    assert main([*command, "--set", "evaluation.online=false"]) == 2
    assert "no episode can be played" in capsys.readouterr().err


def test_a_benchmark_of_another_package_is_played_and_scored(bells: Path, tmp_path: Path) -> None:
    config = Config.model_validate({"profile": "test", "grounding": {"agent": "hand"}})
    evaluate(config, "bells", "three", str(bells), tmp_path / "out", resamples=20)
    summary = read_summary(tmp_path / "out")
    assert summary["figures"]["success"]["value"] == 0.5  # three rings, and four, of at most three
    score("bells", "three", None, tmp_path / "out" / "predictions.jsonl", tmp_path / "again", resamples=20)
    assert read_summary(tmp_path / "again")["figures"] == summary["figures"]
