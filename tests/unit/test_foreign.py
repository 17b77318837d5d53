"""Online episodes are of the data's tasks: where the environment has none of them, nothing is played, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.episodes import episode, write_raw
from tracer.config import Config
from tracer.dataset import write_shards
from tracer.evaluation import online
from tracer.evaluation.results import read_scores
from tracer.json_files import write_json
from tracer.registry import policy
from tracer.sources import jsonl
from tracer.trajectory import Trajectory

POLICY = Path(__file__).parents[2] / "mlflow/promotion.yaml"


def shards(folder: Path, *tasks: str) -> Path:
    raw = write_raw(folder / "raw", [episode("train", 0, task) for task in tasks])
    write_shards((item for item in jsonl.read(raw) if isinstance(item, Trajectory)), folder / "shards")
    return folder / "shards"


def never(*_: object) -> None:
    raise AssertionError("something was played")


def test_data_of_other_tasks_is_not_played_and_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "run", never)
    config = Config(profile="test")
    model = tmp_path / "model"
    model.mkdir()
    write_json(model / "planner.json", {"backend": "transformers"})
    lineage = online.evaluate(config, model, tmp_path / "out", shards(tmp_path, "shop", "bank"))
    reason = read_scores(tmp_path / "out")["skipped"]
    assert reason.startswith("the data has no task of the environment 'miniwob', but bank, shop; ")
    assert lineage["metrics"] == {"skipped": reason}
    check = policy.guarded(policy.load(POLICY), policy.load(POLICY).guards[0], {"online": tmp_path / "out"}, {}, 0)
    assert check.passed and "the data has no task" in check.description  # it neither helps nor hinders a promotion


def test_data_of_its_tasks_is_played_and_so_is_an_environment_that_somebody_chose(tmp_path: Path) -> None:
    own, other = shards(tmp_path / "own", "read-table", "shop"), shards(tmp_path / "other", "shop")
    assert online.foreign(Config(profile="test"), own) == ""
    assert online.foreign(Config(profile="test"), other) != ""
    assert online.foreign(Config(profile="test", evaluation={"environment": "miniwob"}), other) == ""
    assert online.foreign(Config(profile="test", evaluation={"online": False}), other) == ""  # it has its own reason
    assert online.foreign(Config(profile="test"), None) == ""


def test_the_digest_knows_whether_anything_was_played(tmp_path: Path) -> None:
    config = Config(profile="test")
    played, skipped = (
        online.recipe(config, Path("data/base"), shards(tmp_path / task, task))["config"]["evaluation"]["online"]
        for task in ("read-table", "shop")
    )
    assert (played, skipped) == (True, False)
