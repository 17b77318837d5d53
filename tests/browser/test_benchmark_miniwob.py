"""The MiniWoB++ benchmark in a real Chromium: its demonstrators score what they should, and a run resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracer.benchmarks import miniwob
from tracer.config import Config
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import BenchmarkError
from tracer.scoring.evaluate import DEMONSTRATORS, evaluate
from tracer.scoring.paired import read_summary

pytestmark = pytest.mark.browser
CONFIG = Config(profile="micro")
# Of ten seeds. An inbox can hold two mails of one sender, a phone book two entries nobody can tell apart.
SOLVED = {"phone-book": 8, "email-inbox-forward": 9}


def write_items(path: Path, seeds: int) -> Path:
    rows = [
        row for row in miniwob.MiniWob(protocols.load("miniwob", "demonstrators")).own_items() if row["seed"] < seeds
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_demonstrators_solve_a_seed_of_every_page_and_a_killed_run_goes_on(tmp_path: Path) -> None:
    items = write_items(tmp_path / "items.jsonl", 1)
    out = tmp_path / "out"
    evaluate(CONFIG, "miniwob", "demonstrators", DEMONSTRATORS, out, items=items, resamples=20)
    summary = read_summary(out)
    failed = [row["id"] for row in map(json.loads, (out / "results.jsonl").open()) if not row["parts"]["success"][0]]
    assert summary["items"]["scored"] == 18
    assert {name.partition("/")[0] for name in failed} <= set(SOLVED)
    # As a kill leaves it: half of the episodes, the last line cut, nothing scored.
    progress = out / "checkpoints" / "episodes.jsonl"
    played = progress.read_bytes().splitlines(keepends=True)
    progress.write_bytes(b"".join(played[:9]) + played[9][:20])
    (out / "lineage.json").rename(out / ".started.json")
    evaluate(CONFIG, "miniwob", "demonstrators", DEMONSTRATORS, out, items=items, resamples=20)
    assert progress.read_bytes().splitlines()[:9] == [line.strip() for line in played[:9]]
    assert read_summary(out)["items"]["scored"] == 18


@pytest.mark.slow
def test_demonstrators_score_what_is_known_of_them(tmp_path: Path) -> None:
    evaluate(CONFIG, "miniwob", "demonstrators", DEMONSTRATORS, tmp_path / "out", resamples=20)
    summary = read_summary(tmp_path / "out")
    assert summary["items"]["complete"]
    for group, metrics in summary["groups"].items():
        page = group.removeprefix("page=")
        assert metrics["success"]["numerator"] >= SOLVED.get(page, 10), page


def test_a_planner_needs_a_protocol_for_planners(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="choose another protocol"):
        evaluate(CONFIG, "miniwob", "heldout-2", DEMONSTRATORS, tmp_path / "out")
