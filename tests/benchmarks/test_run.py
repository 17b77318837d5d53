"""Long runs: one file per item, resume, and items without an answer, which are no score."""

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
    assert counts == {"items": 7, "resumed": 0}
    found = answers(tmp_path / "p.jsonl")
    assert list(found) == [item["id"] for item in ITEMS]
    assert found["group/item 3"]["native"] == "6"


def test_a_served_model_that_goes_away_is_no_score(tmp_path: Path) -> None:
    asked: list[int] = []

    def worker(items: Sequence[Row]) -> list[Row]:
        asked.extend(item["n"] for item in items)
        if any(item["n"] in (1, 4) for item in items):
            raise OSError("the server is gone")
        return double(items)

    folder, predictions = tmp_path / "items", tmp_path / "p.jsonl"
    with pytest.raises(BenchmarkError, match="2 items have no answer") as raised:
        run(ITEMS, worker, folder, predictions, Limits(batch=7))
    for number in range(7):
        assert (f"group/item {number}: OSError: the server is gone" in str(raised.value)) == (number in (1, 4))
        assert path_of(folder, f"group/item {number}").is_file() == (number not in (1, 4))
        assert asked.count(number) == (3 if number in (1, 4) else 2)  # at first in a batch, then one by one
    assert not predictions.exists()
    # The server is back: only these two are asked.
    asked.clear()
    counts = run(ITEMS, lambda items: asked.extend(item["n"] for item in items) or double(items), folder, predictions,
                 Limits(batch=7))  # fmt: skip
    assert (asked, counts) == ([1, 4], {"items": 7, "resumed": 5})
    assert [row["native"] for row in answers(predictions).values()] == [str(2 * number) for number in range(7)]


def test_an_item_that_fails_once_is_asked_again_after_the_others(tmp_path: Path) -> None:
    asked: list[int] = []

    def worker(items: Sequence[Row]) -> list[Row]:
        asked.append(items[0]["n"])
        if asked == [0]:
            raise ConnectionError("reset")
        return double(items)

    run(ITEMS, worker, tmp_path / "items", tmp_path / "p.jsonl", Limits())
    assert asked == [0, 1, 2, 3, 4, 5, 6, 0]
    assert "error" not in (tmp_path / "p.jsonl").read_text(encoding="utf-8")


def test_a_server_that_is_down_is_not_asked_for_every_item(tmp_path: Path) -> None:
    asked: list[str] = []

    def worker(items: Sequence[Row]) -> list[Row]:
        asked.append(items[0]["id"])
        raise ConnectionError("refused")

    many = [{"id": str(number), "n": number} for number in range(1000)]
    with pytest.raises(BenchmarkError, match="is down, and no more were asked"):
        run(many, worker, tmp_path / "items", tmp_path / "p.jsonl", Limits())
    assert len(asked) == 9


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
    asked: list[int] = []

    def worker(items: Sequence[Row]) -> list[Row]:
        asked.append(items[0]["n"])
        if asked.count(2) == 1 and items[0]["n"] == 2:
            time.sleep(1.0)
            return [{"native": "late"}]
        return double(items)

    run(ITEMS, worker, tmp_path / "items", tmp_path / "p.jsonl", Limits(concurrency=2, seconds=0.3))
    assert answers(tmp_path / "p.jsonl")["group/item 2"]["native"] == "4"


def test_items_whose_workers_hang_are_listed(tmp_path: Path) -> None:
    def worker(items: Sequence[Row]) -> list[Row]:
        time.sleep(5 if items[0]["n"] == 3 else 0)
        return double(items)

    with pytest.raises(BenchmarkError, match=r"item 3: TimeoutError: no answer within 0\.2 seconds"):
        run(ITEMS, worker, tmp_path / "items", tmp_path / "p.jsonl", Limits(seconds=0.2))
    assert sum(path_of(tmp_path / "items", item["id"]).is_file() for item in ITEMS) == 6


def test_too_many_late_workers_end_the_run_and_keep_what_is_done(tmp_path: Path) -> None:
    def worker(items: Sequence[Row]) -> list[Row]:
        time.sleep(5 if items[0]["n"] else 0)
        return double(items)

    with pytest.raises(BenchmarkError, match="run again to ask only for the rest"):
        run(ITEMS, worker, tmp_path / "items", tmp_path / "p.jsonl", Limits(concurrency=2, seconds=0.2, failures=2))
    assert path_of(tmp_path / "items", "group/item 0").is_file()
