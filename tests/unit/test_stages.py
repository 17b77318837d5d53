"""What each stage is worth, from evaluations written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.folders import step
from tracer.config import Config, load
from tracer.experiments.stages import claims, compare, played, reactive, write_page
from tracer.lineage.step import run_step
from tracer.stages import MODELS

STEP = {"base": 0.25, "stage1": 0.25, "stage2": 0.5}


@pytest.fixture
def configs(tmp_path: Path) -> list[Config]:
    (tmp_path / "model").write_text("weights")
    found = [Config.model_validate({"profile": "test", "build": str(tmp_path), "seed": seed}) for seed in range(2)]
    for config in found:
        for name in MODELS:
            states: list[dict[str, Any]] = [
                {
                    "trajectory": f"t/{index}",
                    "step_index": 0,
                    "split": split,
                    "step": STEP[name] + 0.1 * config.seed * (name == "stage2"),
                    "similarity": 0.5,
                }
                for split in ("test", "heldout")
                for index in range(*((0, 10) if split == "test" else (10, 20)))
            ]
            episodes: list[dict[str, Any]] = [
                {"task": "page", "seed": seed, "split": "test", "strategy": strategy, "success": float(seed < 4)}
                for strategy in ("anticipatory", "react", "blind")
                for seed in range(8)
            ]
            inputs = {"model": tmp_path / "model"}
            step("evaluate", config, config.out(f"evaluate-{name}"), inputs, {"results.jsonl": states})
            step("online", config, config.out(f"online-{name}"), inputs, {"results.jsonl": episodes})
    return found


def test_each_stage_against_the_one_before(configs: list[Config], tmp_path: Path) -> None:
    rivals = configs[:1] * 2
    found = {
        (claim.ours.title, claim.theirs.title, claim.metric): compare(claim, configs, rivals) for claim in claims()
    }
    better = found["stage2", "stage1", "step"]["splits"]
    assert better["all"]["difference"]["mean"] == pytest.approx(0.3)
    assert better["all"]["seeds"] == pytest.approx([0.25, 0.35])
    assert better["all"]["verdict"] == better["unseen pages"]["verdict"] == "yes"
    assert found["stage1", "base", "similarity"]["splits"]["all"]["verdict"] == "not clear"
    online = found["stage2, anticipatory", "stage2, react", "success"]["splits"]
    assert online["all"]["difference"]["n"] == 8 and online["unseen pages"]["verdict"] == "not scorable"
    rival = found["stage2", "stage2 of T = 1", "step"]["splits"]["all"]
    assert rival["seeds"] == pytest.approx([0.0, 0.1])  # of the rivals' folders, which are those of seed 0 here
    assert ("stage2, anticipatory", "stage2 of T = 1, react", "success") in found

    stamp = {"profile": "test", "seeds": 2, "overrides": [], "git": {"commit": "c" * 40}}
    result = {**stamp, "hardware": {"cpu": "a processor", "gpus": []}, "claims": list(found.values())}
    page = write_page(result, tmp_path / "docs").read_text()
    assert "2 seeds; a processor; commit cccccccccccc." in page
    assert "**An old base.**" in write_page({**result, "note": "An old base."}, tmp_path / "noted").read_text()
    assert "| stage2 over stage1 | step | all | 25.0 | 55.0 | +30.0 [+30.0, +30.0] | +25.0, +35.0 | **yes** |" in page


def test_a_profile_is_asked_for_what_it_plays() -> None:
    def asked(*, rival: bool, **evaluation: Any) -> set[tuple[str, str]]:
        config = Config.model_validate({"profile": "test", "evaluation": evaluation})
        return {(each.ours.title, each.theirs.title) for each in claims() if played(config, each, rival=rival)}

    assert len(asked(rival=True)) == len({(each.ours.title, each.theirs.title) for each in claims()})
    assert asked(rival=False, strategies=["anticipatory"], unplayed=["stage1"]) == {
        ("stage1", "base"), ("stage2", "stage1"), ("stage2", "base"), ("stage2, anticipatory", "base, anticipatory"),
    }  # fmt: skip


def test_the_reactive_rival_samples_as_many_tokens_a_line_at_a_time(tmp_path: Path) -> None:
    config = load("micro", [f"build={tmp_path}", "seed=3"])
    for name, tokens in (("stage1", 4000), ("stage2", 5000)):
        run_step(name, config={}, inputs={}, out=config.out(name), module="tracer.action",
                 body=lambda out, tokens=tokens: {"tokens": tokens})  # fmt: skip
    rival = reactive(config, ["reward.gamma=0.8"])
    assert (rival.planner.horizon, rival.evaluation.strategies, rival.reward.gamma) == (1, ("react",), 0.8)
    assert [(each.tokens, each.steps) for each in (rival.stage1, rival.stage2)] == [(4000, 40), (5000, 40)]
    assert rival.folder == tmp_path / "reactive" / "micro" / "micro" / "seed3"
    assert rival.planner.base == config.planner.base
