"""`tracer reward`: the table shows every term, and its terms add up to the reward."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.planners import trajectories
from tracer.action import Action
from tracer.config import load
from tracer.dataset import read, write_shards
from tracer.forecast import Forecast, ForecastStep
from tracer.lineage.digest import LineageError
from tracer.reporting.explain import example, explain, explain_files
from tracer.reward import RewardConfig, trajectory_reward
from tracer.settings import ConfigError


def keys(*names: str) -> Forecast:
    return tuple(ForecastStep(action=Action.of("key", key=name), instruction=f"press {name}") for name in names)


def test_by_default_a_task_held_out_is_shown_or_else_the_test_split(tmp_path: Path) -> None:
    every = {item.split: item for item in read(trajectories(tmp_path))}
    for splits, shown in ((("train", "test", "heldout"), "heldout"), (("train", "test"), "test")):
        folder = tmp_path / shown
        write_shards([replace(every["train"], id=split, split=split) for split in splits], folder)
        assert example(folder, None, 0, horizon=2).trajectory == shown
        assert example(folder, "train", 0, horizon=2).trajectory == "train"
    write_shards([every["train"]], tmp_path / "train")
    with pytest.raises(ConfigError, match="in the split heldout or test"):
        example(tmp_path / "train", None, 0, horizon=2)


def test_every_term_is_shown() -> None:
    # The numbers are those of test_reward.py: sim 1, 1, 0.2; rep 0, 0, 1; discount 1, 0.9, 0.81.
    lines = explain(keys("a", "b", "b"), keys("a", "b", "c"), RewardConfig()).splitlines()
    assert lines[4].split()[:10] == ["1", "key", "a", "key", "a", "1.0000", "1.0000", "0.0000", "+1.0000", "-0.0000"]
    third = lines[6].split()
    assert third[:9] == ["3", "key", "b", "key", "c", "0.8100", "0.2000", "1.0000", "+0.1620"]
    assert third[9] == "-0.4050"
    assert "repeats step 2" in lines[6]
    assert lines[-3:] == ["align   +2.0620", "penalty -0.4050", "reward  1.6570"]


@pytest.mark.parametrize("penalty", ["cumulative", "consecutive", "excess"])
def test_the_sums_are_the_rewards(penalty: str) -> None:
    config = RewardConfig.model_validate({"penalty": penalty})
    forecast, really = keys("b", "b", "b", "a"), keys("b", "b")
    text = explain(forecast, really, config)
    assert f"reward  {trajectory_reward(forecast, really, config).total:.4f}" in text
    assert "past the reference's end" in text
    assert ("the reference repeats here too" in text) == (penalty == "excess")
    assert ("/ 3 neighbours" in text) == (penalty == "consecutive")


def test_nothing_is_explained_as_nothing() -> None:
    assert "reward 0.0000" in explain(None, keys("a"), RewardConfig())
    assert "earns exactly nothing" in explain((), keys("a"), RewardConfig())


def test_files_against_files_and_folders(tmp_path: Path) -> None:
    config = load("micro")
    line = {"action": "click", "x": 250, "y": 250, "step": "click the button"}
    (tmp_path / "predicted.jsonl").write_text(json.dumps(line) + "\n")
    reward, text = explain_files(tmp_path / "predicted.jsonl", tmp_path / "predicted.jsonl", config)
    assert "reward  1.0000" in text and reward.total == 1
    shards = trajectories(tmp_path)
    # The sample's first click lies in the middle of the first button, (0.25, 0.25).
    _, text = explain_files(tmp_path / "predicted.jsonl", shards, config, "jsonl/click-two/0")
    assert "reward  1.0000" in text
    assert "reward  0." in explain_files(tmp_path / "predicted.jsonl", shards, config, "jsonl/click-two/0", 1)[1]
    for trajectory, step, says in (
        (None, 0, "--trajectory"),
        ("no", 0, "no trajectory 'no'"),
        ("jsonl/click-two/0", 2, "has 2 steps"),
    ):
        with pytest.raises(ConfigError, match=says):
            explain_files(tmp_path / "predicted.jsonl", shards, config, trajectory, step)


def test_what_does_not_parse_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"action": "tap"}')
    (tmp_path / "good.jsonl").write_text('{"action": "wait", "step": "wait"}')
    reward, text = explain_files(tmp_path / "bad.jsonl", tmp_path / "good.jsonl", load("micro"))
    assert reward.total == 0
    assert "does not parse" in text and "reward 0.0000" in text
    with pytest.raises(LineageError, match="contains no reference"):
        explain_files(tmp_path / "good.jsonl", tmp_path / "bad.jsonl", load("micro"))
    with pytest.raises(ConfigError, match="is not a file"):
        explain_files(tmp_path / "none", tmp_path / "good.jsonl", load("micro"))


def test_a_marked_file_is_read_and_one_in_another_encoding_is_named(tmp_path: Path) -> None:
    line = json.dumps({"action": "click", "x": 250, "y": 250, "step": "click the button"})
    file = tmp_path / "predicted.jsonl"
    file.write_text(line, encoding="utf-8-sig")
    assert explain_files(file, file, load("micro"))[0].total == 1
    file.write_text(line, encoding="utf-16")
    with pytest.raises(LineageError, match=r"predicted\.jsonl is not UTF-8"):
        explain_files(file, file, load("micro"))
