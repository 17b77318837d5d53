"""The speed results: medians, ratios, regressions and the page, from laps written by hand."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tracer.experiments import bench, full_size
from tracer.experiments.bench import check, file_of, record, regressions, require_recordable, summary, write_page
from tracer.lineage.digest import LineageError


def lap(step: float, reward: float, score: float = 0.001, **extra: Any) -> dict[str, Any]:
    seconds = {"step": step, "generate": step / 2, "score": score, "sync": 0.0, "update": step / 2 - score}
    tokens = {"prompt": 90, "completion": 10}
    return {"seconds": seconds, "tokens": tokens, "peak_bytes": 2**30, "reward": reward, **extra}


LAST = {"operators": [{"name": "aten::mm", "share": 0.6}, {"name": "aten::add", "share": 0.1}]}


def run(ours: float, theirs: float, bias: float = 0.0, **extra: Any) -> dict[str, list[dict[str, Any]]]:
    return {
        "ours": [lap(ours, 1.0 + bias, **extra), lap(ours * 1.1, 1.2 + bias, **extra), lap(99.0, 1.1 + bias, **LAST)],
        "trl": [lap(theirs, 1.1), lap(theirs * 1.1, 1.1), lap(99.0, 1.1, **LAST)],
    }


def result(runs: list[dict[str, list[dict[str, Any]]]], profile: str = "tiny") -> dict[str, Any]:
    return {
        "profile": profile,
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "hardware": {"cpu": "a processor", "cores": 2, "gpus": [], "threads": 2},
        "versions": {"torch": "2", "trl": "1"},
        "settings": {"stage1": {"groups": 8, "group_size": 8}},
        "steps": 2,
        "seeds": len(runs),
        **summary(runs),
    }


def test_the_summary_leaves_the_profiled_lap_out() -> None:
    found = summary([run(1.0, 2.0)])
    assert found["speedup"]["mean"] == pytest.approx(2.0)
    assert found["sides"]["ours"]["seconds"]["step"] == pytest.approx(1.05)
    assert found["sides"]["trl"]["tokens_per_second"] == pytest.approx(200 / 4.2, abs=0.1)
    assert found["sides"]["ours"]["operators"] == LAST["operators"]
    assert found["reward_share"] == pytest.approx(0.002 / 2.1, abs=1e-6)
    assert found["rewards"]["difference"] is None


def test_rewards_are_compared_over_seeds() -> None:
    agree = summary([run(1.0, 2.0, bias) for bias in (-0.1, 0.0, 0.1)])["rewards"]["difference"]
    assert agree["low"] <= 0 <= agree["high"]
    apart = summary([run(1.0, 2.0, bias) for bias in (0.5, 0.6, 0.7)])["rewards"]["difference"]
    assert apart["low"] > 0


def test_regressions_are_found() -> None:
    before = result([run(1.0, 2.0)])
    assert regressions(before, before) == []
    assert regressions(result([run(1.1, 2.0)]), before) == []  # within the tolerance
    slower = regressions(result([run(1.6, 2.0)]), before)
    assert len(slower) == 2 and "1.25 times as fast as TRL, recorded were 2.00" in slower[0]
    elsewhere = copy.deepcopy(before)
    elsewhere["hardware"]["cpu"] = "another"
    assert len(regressions(result([run(1.6, 2.0)]), elsewhere)) == 1  # seconds do not compare, the ratio does
    dear = regressions(result([run(1.0, 2.0, score=0.02)]), None)
    assert dear and "the reward takes" in dear[0]
    other = copy.deepcopy(before)
    other["settings"]["stage1"]["groups"] = 4
    assert "other settings" in regressions(before, other)[0]


def test_a_result_is_recorded_checked_and_shown(tmp_path: Path) -> None:
    found, folder = result([run(1.0, 1.2, bias) for bias in (-0.1, 0.1)]), tmp_path / "bench"
    assert check(found, folder) == []
    assert record(found, folder) == file_of(found, folder) == folder / "tiny-cpu.json"
    assert json.loads((folder / "tiny-cpu.json").read_text())["speedup"] == found["speedup"]
    assert check(result([run(2.0, 1.2)] * 2), folder)
    write_page(folder, tmp_path / "speed.md")
    page = (tmp_path / "speed.md").read_text()
    for expected in ("`tiny` on a processor", "0123456789ab", "**1.20 times as fast**", "which is not reached"):
        assert expected in page
    assert "the curves agree" in page and "`aten::mm` 60%" in page


def test_equal_curves_are_said_to_be_equal(tmp_path: Path) -> None:
    same = run(1.0, 2.0)
    same["trl"] = [{**theirs, "reward": ours["reward"]} for ours, theirs in zip(*same.values(), strict=True)]
    record(result([same]), tmp_path)
    write_page(tmp_path, tmp_path / "speed.md")
    assert "equal to six digits in all 2 steps" in (tmp_path / "speed.md").read_text()
    record(result([run(1.0, 2.0)]), tmp_path)
    write_page(tmp_path, tmp_path / "speed.md")
    assert "One seed does not tell" in (tmp_path / "speed.md").read_text()


def test_a_page_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="run `tracer bench`"):
        write_page(tmp_path, tmp_path / "speed.md")


def test_only_committed_code_and_enough_turns_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    clean: dict[str, Any] = {"commit": "0" * 40, "dirty": False}
    monkeypatch.setattr(bench, "git_commit", lambda: clean)
    require_recordable(20, 3)
    for steps, seeds in ((19, 3), (20, 2)):
        with pytest.raises(LineageError, match="ask for at least 20 and 3"):
            require_recordable(steps, seeds)
    for dirty, message in ((True, "has uncommitted changes; commit them first"), (None, "is no git checkout")):
        monkeypatch.setattr(bench, "git_commit", lambda dirty=dirty: {**clean, "dirty": dirty})
        with pytest.raises(LineageError, match=message):
            require_recordable(20, 3)


def test_a_measurement_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "full-size.md"
    page.write_text(f"before\n{full_size.BEGIN}old\n{full_size.END}after\n", encoding="utf-8")
    recorded = result([run(1.0, 2.0)])
    found = {**recorded, **recorded["sides"]["ours"], "planned_gigabytes": 61.2, "logp_difference": 0.0123}
    full_size.fill(page, found)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(
        f"before\n{full_size.BEGIN}`tiny` on a processor, commit 0123456789ab, torch 2, TRL 1: 2 steps"
    )
    assert "old" not in text and text.endswith(f"{full_size.END}after\n")
    for row in ("| step, seconds | 1.05 |", "as `tracer plan` has it | 61.2 |", "furthest apart | 0.012 |"):
        assert row in text
    page.write_text("no marks\n", encoding="utf-8")
    with pytest.raises(LineageError, match="has no place for a result"):
        full_size.fill(page, found)
