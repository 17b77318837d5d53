"""Two registered versions beside each other, from the registry alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folders import STATES, Chain
from tracer import cli
from tracer.config import Config, load
from tracer.registry import diff, episodes, register, tracking

ONLINE = [1.0, 0.0] * 12
PARAMS = "profile: test\nprofiles: {test: {data: {pointer: ''}}}\n"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """Two versions are registered; the folders that they were made in are gone."""
    root = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        Path("params.yaml").write_text(PARAMS)
        tracked = f"registry.tracking_uri=sqlite:///{root}/mlflow.db"
        first, second = load(overrides=[tracked]), load(overrides=[tracked, "stage1.steps=7"])
        chain = Chain(first, episodes=["login/0", "login/1", "click/0"])
        made = chain.stage2(1, [1.0, 0.0] * (STATES // 2), ONLINE)
        register.register(first, first.out("stage2"), made)
        chain = Chain(second, episodes=["login/1", "shop/0", "shop/1"])
        made = chain.stage2(2, [1.0] * STATES, ONLINE)
        register.register(second, second.out("stage2"), made)
        shutil.rmtree("build")
        shutil.rmtree("data")
        yield first


def test_data_settings_and_scores_of_two_versions(config: Config) -> None:
    found = diff.diff("tracer-planner/1", "tracer-planner/2", config.registry)
    assert (found.then, found.now) == ("models:/tracer-planner/1", "models:/tracer-planner/2")
    assert found.episodes == (
        episodes.Change(source="jsonl", page="click", added=(), removed=("click/0",), changed=()),
        episodes.Change(source="jsonl", page="login", added=(), removed=("login/0",), changed=()),
        episodes.Change(source="jsonl", page="shop", added=("shop/0", "shop/1"), removed=(), changed=()),
    )
    default = config.stage1.steps
    assert found.settings == {"stage1.steps": (default, 7)}
    assert found.code == found.libraries == {}
    scores = {(score.evaluation, score.group, score.metric): score for score in found.scores}
    step = scores["evaluate", "test", "step"]
    assert step.then is not None and step.then.mean == 0.5 and step.now is not None and step.now.mean == 1.0
    assert step.difference is not None and step.difference.mean == 0.5 and step.difference.excludes_zero
    online = scores["online", "anticipatory", "success"]
    assert online.difference is not None and (online.difference.mean, online.difference.n) == (0.0, len(ONLINE))


def test_a_version_and_itself_are_the_same(config: Config) -> None:
    found = diff.diff("tracer-planner/1", "tracer-planner@challenger", config.registry)
    assert found.now.endswith("/2")
    same = diff.diff("tracer-planner/2", "tracer-planner@challenger", config.registry)
    assert same.episodes == () and not same.settings and same.data[0] == same.data[1]


def test_an_episode_of_the_same_name_with_other_contents_is_changed(config: Config, tmp_path: Path) -> None:
    old = {"jsonl": {"login": {"login/0": "a", "login/1": "b"}}}
    new = {"jsonl": {"login": {"login/0": "c", "login/1": "b"}}}
    (change,) = episodes.changes(old, new)
    assert change.changed == ("login/0",) and not change.added and not change.removed


def test_the_command_prints_it_for_people_and_for_programs(
    config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["diff", "tracer-planner/1", "tracer-planner/2", "--set"]
    arguments.append(f"registry.tracking_uri={config.registry.tracking_uri}")
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "  jsonl, shop: + 2 (shop/0, shop/1)" in text and "  jsonl, click: - 1 (click/0)" in text
    assert f"  stage1.steps: {config.stage1.steps} -> 7" in text
    assert "evaluate test step: 0.5 [" in text and "difference +0.5 [+" in text
    assert cli.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"] == {"stage1.steps": [config.stage1.steps, 7]}
    assert found["episodes"][2]["added"] == ["shop/0", "shop/1"]


def test_a_version_that_is_not_there_has_no_difference(config: Config) -> None:
    with pytest.raises(tracking.RegistryError, match="tracer-planner/9"):
        diff.diff("tracer-planner/1", "tracer-planner/9", config.registry)
