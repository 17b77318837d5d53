"""Long runs: one file per item, resume, time-outs, crashes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tracer.scoring.contract import BenchmarkError
from tracer.scoring.run import Limits, path_of, run

Row = dict[str, Any]
ITEMS = [{"id": f"group/item {n}", "n": n} for n in range(7)]


def answers(path: Path) -> dict[str, Row]:
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


def double(items: Sequence[Row]) -> list[Row]:
    return [{"native": str(2 * item["n"])} for item in items]


@pytest.mark.parametrize("limits", [Limits(), Limits(batch=3, concurrency=2), Limits(batch=99, concurrency=9)])
def test_every_item_is_answered_in_order(tmp_path: Path, limits: Limits) -> None:
    counts = run(ITEMS, double, tmp_path / "items", tmp_path / "p.jsonl", limits)
    assert counts == {"items": 7, "resumed": 0, "crashed": 0}
    found = answers(tmp_path / "p.jsonl")
    assert list(found) == [item["id"] for item in ITEMS]
    assert found["group/item 3"]["native"] == "6"


def test_a_crash_fails_its_item_and_no_other_of_its_batch(tmp_path: Path) -> None:
    def worker(items: Sequence[Row]) -> list[Row]:
        if any(item["n"] == 4 for item in items):
            raise OSError("the screen is gone")
        return double(items)

    counts = run(ITEMS, worker, tmp_path / "items", tmp_path / "p.jsonl", Limits(batch=7))
    assert counts["crashed"] == 1
    found = answers(tmp_path / "p.jsonl")
    assert found["group/item 4"]["error"] == "OSError: the screen is gone"
    assert sum("native" in row for row in found.values()) == 6


def test_it_resumes_where_it_was_killed(tmp_path: Path) -> None:
    asked: list[int] = []

    def worker(items: Sequence[Row]) -> list[Row]:
        asked.extend(item["n"] for item in items)
        return double(items)

    folder = tmp_path / "items"
    run(ITEMS[:3], worker, folder, tmp_path / "p.jsonl", Limits())
    counts = run(ITEMS, worker, folder, tmp_path / "p.jsonl", Limits())
    assert counts["resumed"] == 3
    assert asked == list(range(7))  # none of them twice
    assert len(answers(tmp_path / "p.jsonl")) == 7
    path_of(folder, "group/item 5").unlink()
    assert run(ITEMS, double, folder, tmp_path / "p.jsonl", Limits())["resumed"] == 6


def test_a_late_worker_is_given_up_and_its_answer_ignored(tmp_path: Path) -> None:
    def worker(items: Sequence[Row]) -> list[Row]:
        if items[0]["n"] == 2:
            time.sleep(1.0)
        return double(items)

    run(ITEMS, worker, tmp_path / "items", tmp_path / "p.jsonl", Limits(concurrency=2, seconds=0.3))
    found = answers(tmp_path / "p.jsonl")
    assert found["group/item 2"]["error"] == "no answer within 0.3 seconds"
    assert sum("native" in row for row in found.values()) == 6


def test_too_many_late_workers_end_the_run_and_keep_what_is_done(tmp_path: Path) -> None:
    def worker(items: Sequence[Row]) -> list[Row]:
        time.sleep(5 if items[0]["n"] else 0)
        return double(items)

    with pytest.raises(BenchmarkError, match="run again to resume"):
        run(ITEMS, worker, tmp_path / "items", tmp_path / "p.jsonl", Limits(concurrency=2, seconds=0.2, abandoned=2))
    assert path_of(tmp_path / "items", "group/item 0").is_file()
