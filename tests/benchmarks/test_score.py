"""The streaming scorer: what damaged files end in, what is written, and what may be compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forecasts import Oracle, sample, shards
from tests.unit.test_offline import evaluated
from tracer.benchmarks import gaia
from tracer.config import Config
from tracer.evaluation.results import read_scores
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import BenchmarkError
from tracer.scoring.files import lines
from tracer.scoring.paired import compare, read_summary
from tracer.scoring.score import score

COUNT = 12


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.jsonl"
    rows = [{"id": f"q{n}", "goal": "?", "level": "1", "answer": f"{n}"} for n in range(COUNT)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Scored = Callable[[list[str]], dict[str, Any]]


@pytest.fixture
def scored(items: Path, tmp_path: Path) -> Scored:
    def run(lines: list[str]) -> dict[str, Any]:
        predictions = tmp_path / "predictions.jsonl"
        predictions.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        score("gaia", "validation", items, predictions, tmp_path / "out", resamples=50)
        return read_summary(tmp_path / "out")

    return run


def right(count: int = COUNT) -> list[str]:
    return [json.dumps({"id": f"q{n}", "native": f"{n}"}) for n in range(count)]


def failures(folder: Path) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in map(json.loads, (folder / "failures.jsonl").read_text().splitlines())}


def test_all_right_in_any_order(scored: Scored) -> None:
    summary = scored(right()[::-1])
    assert summary["figures"]["accuracy"]["value"] == 1.0
    assert summary["figures"]["accuracy"]["interval"] == [1.0, 1.0]
    assert summary["items"] == {**summary["items"], "scored": COUNT, "expected": 165, "complete": False}
    assert summary["groups"]["level=1"]["accuracy"]["numerator"] == COUNT


def test_missing_predictions_are_counted_failures_and_listed(scored: Scored, tmp_path: Path) -> None:
    summary = scored(right(COUNT - 3))
    assert summary["failed"] == {"missing": 3}
    assert summary["figures"]["accuracy"] == {**summary["figures"]["accuracy"], "numerator": 9.0, "denominator": 12.0}
    assert failures(tmp_path / "out") == {"q9": "missing", "q10": "missing", "q11": "missing"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "q0", "native": 5}', "malformed"),
        ('{"id": "q0", "native": NaN}', "malformed"),
        ('{"id": "q0", "native": ["a"]}', "malformed"),
        ('{"id": "q0"}', "malformed"),
        ('{"id": "q0", "native": "0", "action": {"type": "wait"}}', "malformed"),
        ('{"id": "q0", "text": "0"}', "malformed"),
        ('{"id": "q0", "text": "0", "convention": "telepathy"}', "malformed"),
        ('{"id": "q0", "native": "\\ud800"}', "malformed"),
        (json.dumps({"id": "q0", "native": "x" * 10_000_000}), "malformed"),
        ('{"id": "q0", "native": ' + "9" * 5000 + "}", "malformed"),
        ('{"id": "q0", "native": ' + "[" * 100_000 + "]" * 100_000 + "}", "malformed"),
        ('{"id": "q0", "action": {"type": "click", "x": ' + "9" * 400 + ', "y": 0}}', "malformed"),
        ('{"id": "q0", "convention": "qwen2.5-vl", "text": "{\\"arguments\\": ' + "9" * 5000 + '}"}', "unparsable"),
        (
            '{"id": "q0", "convention": "gui-r1", "text": "[{\'action\': \'click\', \'point\': ['
            + "9" * 400
            + ', 1]}]"}',
            "unparsable",
        ),
        ('{"id": "q0", "action": {"type": "click", "x": 2, "y": 0}}', "unparsable"),
        ('{"id": "q0", "action": {}}', "unparsable"),
        ('{"id": "q0", "action": {"type": "wait"}}', "unparsable"),
        ('{"id": "q0", "error": "the model server was gone"}', "crashed"),
    ],
)
def test_a_bad_prediction_that_names_its_item_is_a_counted_failure(
    scored: Scored, tmp_path: Path, line: str, reason: str
) -> None:
    summary = scored([line, *right()[1:]])
    assert summary["failed"] == {reason: 1}
    assert failures(tmp_path / "out") == {"q0": reason}
    assert summary["figures"]["accuracy"]["numerator"] == COUNT - 1
    assert (tmp_path / "out" / "failures.jsonl").stat().st_size < 2000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "q1", "native": "0"}', r"line 2: the id 'q1' is on line 1 too"),
        ('{"id": "elsewhere", "native": "0"}', r"line 1: the id 'elsewhere' is not an item's"),
        ('{"native": "0"}', r"line 1: no object with a string 'id'"),
        ('{"id": 7, "native": "0"}', r"line 1: no object with a string 'id'"),
        ("[1, 2]", r"line 1: no object with a string 'id'"),
        ("not json", r"line 1: not JSON"),
        ('{"id": "q0", "native": ' + "[" * 100_000, r"line 1: not JSON"),
    ],
)
def test_a_line_that_cannot_be_assigned_ends_in_an_error_with_its_number(
    scored: Scored, line: str, message: str
) -> None:
    with pytest.raises(BenchmarkError, match=message):
        scored([line, *right()[1:]])


def test_an_invalid_byte_in_one_prediction_fails_that_prediction(items: Path, tmp_path: Path) -> None:
    predictions = tmp_path / "p.jsonl"
    predictions.write_bytes(b'{"id": "q0", "native": "\xff"}\n' + "\n".join(right()[1:]).encode())
    score("gaia", "validation", items, predictions, tmp_path / "out", resamples=20)
    assert failures(tmp_path / "out") == {"q0": "malformed"}


def test_what_a_rule_did_not_expect_fails_one_item(scored: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = gaia.matches

    def defective(ours: str, reference: str) -> bool:
        if reference == "3":
            raise ZeroDivisionError("a defect, \ud83d")
        return judged(ours, reference)

    monkeypatch.setattr(gaia, "matches", defective)
    summary = scored(right())
    assert summary["failed"] == {"unparsable": 1}
    assert summary["first_failures"] == {"unparsable": "ZeroDivisionError: a defect, ?"}


def test_a_byte_order_mark_is_no_part_of_the_first_line(items: Path, tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        marked = tmp_path / f"items-{encoding}.jsonl"
        marked.write_text(items.read_text(), encoding=encoding)
        predictions = tmp_path / f"{encoding}.jsonl"
        predictions.write_text("\n".join(right()), encoding=encoding)
    score("gaia", "validation", tmp_path / "items-utf-8-sig.jsonl", tmp_path / "utf-8-sig.jsonl", tmp_path / "a")
    assert read_summary(tmp_path / "a")["failed"] == {}
    for given in ((items, tmp_path / "utf-16.jsonl"), (tmp_path / "items-utf-16.jsonl", tmp_path / "utf-8-sig.jsonl")):
        with pytest.raises(BenchmarkError, match="is UTF-16; save it as UTF-8"):
            score("gaia", "validation", *given, tmp_path / "b")


def test_fields_that_are_not_read_are_counted(scored: Scored) -> None:
    rows = [{**json.loads(line), "model": "m"} for line in right()]
    summary = scored([json.dumps({**rows[0], "colour": "red"}), *map(json.dumps, rows[1:])])
    assert (summary["failed"], summary["ignored_fields"]) == ({}, {"model": COUNT, "colour": 1})


@pytest.mark.parametrize("missing", ["items", "predictions"])
def test_a_file_that_does_not_exist_is_named_with_its_option(items: Path, tmp_path: Path, missing: str) -> None:
    given = {"items": items, "predictions": items, missing: tmp_path / "nowhere.jsonl"}
    with pytest.raises(BenchmarkError, match=f"nowhere.jsonl.*--{missing} names") as error:
        score("gaia", "validation", given["items"], given["predictions"], tmp_path / "out")
    assert "dvc" not in str(error.value)


def test_evaluations_compare_too_where_they_were_made_alike(items: Path, tmp_path: Path) -> None:
    data = shards(tmp_path / "data", sample())
    evaluated(tmp_path / "a", data, Oracle(sample(), right=0.9))
    evaluated(tmp_path / "b", data, Oracle(sample(), right=0.4))
    mine, theirs = (read_scores(tmp_path / name)["splits"]["test"]["metrics"] for name in "ab")
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found["metric"] == "step"
    difference = found["groups"]["test"]["difference"]["mean"]
    assert difference == pytest.approx(mine["step"]["mean"] - theirs["step"]["mean"], abs=1e-6)
    assert found["groups"]["test"]["mcnemar"]["only_ours"] > 0
    assert compare(tmp_path / "a", tmp_path / "b", "similarity")["groups"]["test"]["mcnemar"] is None
    with pytest.raises(BenchmarkError, match="has no metric 'charm'"):
        compare(tmp_path / "a", tmp_path / "b", "charm")
    evaluated(tmp_path / "c", data, Oracle(sample(), right=0.4), Config(profile="test", planner={"horizon": 2}))
    with pytest.raises(BenchmarkError, match="evaluated differently"):
        compare(tmp_path / "a", tmp_path / "c")
    (tmp_path / "p.jsonl").write_text("\n".join(right()))
    score("gaia", "validation", items, tmp_path / "p.jsonl", tmp_path / "scored", resamples=20)
    with pytest.raises(BenchmarkError, match="one is a benchmark's score, one an evaluation"):
        compare(tmp_path / "a", tmp_path / "scored")


def online(folder: Path, scores: dict[str, Any], solved: dict[str, str]) -> Path:
    """The folder of an online evaluation: of each agent, who solved which of its episodes."""
    folder.mkdir()
    (folder / "scores.json").write_text(json.dumps(scores))
    rows = [
        {"task": "p", "seed": seed, "strategy": agent, "split": "test", "success": float(one), "steps": 3}
        for agent, ones in solved.items()
        for seed, one in enumerate(ones)
    ]
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_online_evaluations_compare_agent_by_agent(tmp_path: Path) -> None:
    scores = {"protocol": {"max_steps": 9}, "strategies": {}}
    ours = online(tmp_path / "a", scores, {"react": "1100", "anticipatory": "1111"})
    theirs = online(tmp_path / "b", scores, {"react": "1100", "anticipatory": "1000"})
    found = compare(ours, theirs)
    assert found["metric"] == "success"
    means = {group: apart["difference"]["mean"] for group, apart in found["groups"].items()}
    assert means == {"react/test": 0.0, "anticipatory/test": 0.75}
    assert found["groups"]["anticipatory/test"]["mcnemar"] == {"only_ours": 3, "only_theirs": 0, "p": 0.25}
    fewer = online(tmp_path / "c", scores, {"react": "110", "anticipatory": "100"})
    with pytest.raises(BenchmarkError, match="react/test: the two evaluations saw different cases"):
        compare(ours, fewer)
    skipped = online(tmp_path / "d", {"skipped": "Chromium is missing"}, {})
    with pytest.raises(BenchmarkError, match="d has no scores to compare: Chromium is missing"):
        compare(ours, skipped)


def test_scores_of_two_versions_of_a_protocol_are_not_compared(scored: Scored, tmp_path: Path) -> None:
    scored(right())
    before = tmp_path / "before"
    shutil.copytree(tmp_path / "out", before)
    old = protocols.load("gaia", "validation").model_copy(update={"version": 1})
    summary = read_summary(before) | {"protocol_version": old.version, "protocol_digest": old.digest}
    (before / "scores.json").write_text(json.dumps(summary))
    with pytest.raises(BenchmarkError, match=r"version 2 .*version 1 .*never compared"):
        compare(tmp_path / "out", before)


def test_bad_items_are_errors(tmp_path: Path) -> None:
    predictions = tmp_path / "p.jsonl"
    predictions.write_text("")
    item = {"id": "a", "goal": "?", "level": "1", "answer": "1"}
    for number, (rows, message) in enumerate(
        [
            ([item, item], "line 2: the id 'a' is on line 1 too"),
            ([{**item, "level": "9"}], "line 1: no item of this benchmark: level"),
            ([{**item, "extra": 1}], "line 1: no item of this benchmark: extra"),
            ([], "contains no items"),
        ]
    ):
        path = tmp_path / f"items{number}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(BenchmarkError, match=message):
            score("gaia", "validation", path, predictions, tmp_path / f"out{number}")
    with pytest.raises(BenchmarkError, match="is not a file"):
        list(lines(tmp_path / "nowhere.jsonl"))


def test_the_same_score_again_is_found_and_another_protocol_is_another_step(items: Path, tmp_path: Path) -> None:
    predictions = tmp_path / "p.jsonl"
    predictions.write_text("\n".join(right()))
    first = score("gaia", "validation", items, predictions, tmp_path / "a", resamples=20)
    assert score("gaia", "validation", items, predictions, tmp_path / "a", resamples=20) == first
    other = score("gaia", "validation-level1", items, predictions, tmp_path / "b", resamples=20)
    assert other["digest"] != first["digest"]


def test_comparisons_need_one_protocol_and_one_item_set(items: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl"
    ours.write_text("\n".join(right()))
    theirs.write_text("\n".join(right(8)))  # four are missing
    score("gaia", "validation", items, ours, tmp_path / "a", resamples=20)
    score("gaia", "validation", items, theirs, tmp_path / "b", resamples=20)
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found["difference"]["mean"] == pytest.approx(4 / 12, abs=1e-6)
    # Four items only ours has right: p = 2 * 0.5^4 = 0.125
    assert found["mcnemar"] == {"only_ours": 4, "only_theirs": 0, "p": 0.125}
    score("gaia", "validation-level1", items, theirs, tmp_path / "c", resamples=20)
    with pytest.raises(BenchmarkError, match="different protocols are never compared"):
        compare(tmp_path / "a", tmp_path / "c")
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("".join(items.read_text().splitlines(keepends=True)[:8]))
    score("gaia", "validation", fewer, theirs, tmp_path / "d", resamples=20)
    with pytest.raises(BenchmarkError, match="different items"):
        compare(tmp_path / "a", tmp_path / "d")
    with pytest.raises(BenchmarkError, match="not a finished score"):
        compare(tmp_path / "a", tmp_path / "nowhere")


def test_strict_false_is_another_digest_and_passes_what_the_original_passes(tmp_path: Path) -> None:
    items, predictions = tmp_path / "i.jsonl", tmp_path / "p.jsonl"
    item = {
        "id": "a",
        "episode": "e",
        "step": 0,
        "step_length": 1,
        "category": "c",
        "goal": "g",
        "action": "TEXT",
        "info": "hi",
    }
    items.write_text(json.dumps(item))
    predictions.write_text(json.dumps({"id": "a", "native": "TYPE: "}))
    score("gui_odyssey", "official-pooled", items, predictions, tmp_path / "s", resamples=5)
    score("gui_odyssey", "official-pooled", items, predictions, tmp_path / "l", strict=False, resamples=5)
    strict, lenient = read_summary(tmp_path / "s"), read_summary(tmp_path / "l")
    assert (strict["figures"]["step"]["value"], lenient["figures"]["step"]["value"]) == (0.0, 1.0)
    assert strict["protocol_digest"] != lenient["protocol_digest"]
    assert protocols.load("gui_odyssey", "official-pooled").digest == strict["protocol_digest"]


def test_a_conditional_metric_does_not_pair(tmp_path: Path) -> None:
    items = tmp_path / "i.jsonl"
    action = {"action_type": "click", "x": 1, "y": 1}
    items.write_text(
        json.dumps({"id": "a", "episode": 1, "step": 0, "goal": "g", "width": 9, "height": 9, "action": action})
    )
    for name, line in (("a", "CLICK <point>[[1,1]]</point>"), ("b", "WAIT")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": "a", "native": line}))
        score("android_control", "p1-high-7708", items, tmp_path / f"{name}.jsonl", tmp_path / name, resamples=5)
    assert compare(tmp_path / "a", tmp_path / "b")["mcnemar"]["only_theirs"] == 0
    with pytest.raises(BenchmarkError, match="conditional"):
        compare(tmp_path / "a", tmp_path / "b", "grounding")
