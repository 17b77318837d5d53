"""The command line of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracer.cli import main


def run(*arguments: str) -> int:
    return main(arguments)


def test_score_compare_and_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = tmp_path / "i.jsonl"
    items.write_text(
        "".join(json.dumps({"id": str(n), "goal": "?", "level": "1", "answer": "1"}) + "\n" for n in range(4))
    )
    for name, answers in (("a", "1110"), ("b", "1000")):
        rows = [json.dumps({"id": str(n), "native": answer}) for n, answer in enumerate(answers)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
        code = run(
            "score", "gaia", "--protocol", "validation", "--items", str(items),
            "--predictions", str(tmp_path / f"{name}.jsonl"), "--out", str(tmp_path / name),
        )  # fmt: skip
        assert code == 0
    shown = capsys.readouterr().out
    assert "accuracy             0.7500" in shown and "not comparable: the protocol has 165 items" in shown
    assert run("compare", str(tmp_path / "a"), str(tmp_path / "b")) == 0
    assert json.loads(capsys.readouterr().out)["mcnemar"] == {"only_ours": 2, "only_theirs": 0, "p": 0.5}
    assert run("published", f"tiny={tmp_path / 'a'}", "--out", str(tmp_path / "t.md")) == 0
    assert "| **tiny** (ours) | 4 of 165 | 75.0" in (tmp_path / "t.md").read_text()
    assert run("published", "nonsense") == 2
    capsys.readouterr()
    assert run("compare", str(tmp_path / "a"), str(tmp_path / "nowhere")) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_file_of_which_nothing_can_be_judged_exits_1_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items, predictions = tmp_path / "i.jsonl", tmp_path / "p.jsonl"
    items.write_text(json.dumps({"id": "a", "goal": "?", "level": "1", "answer": "1"}))
    given = ("score", "gaia", "--protocol", "validation", "--items", str(items), "--predictions", str(predictions))
    for line, reason in (
        ({"id": "a", "native": 5}, "1 items failed: malformed"),
        ({"id": "a", "action": {}}, "1 items failed: unparsable"),
    ):
        predictions.write_text(json.dumps({**line, "model": "m"}))
        assert run(*given, "--out", str(tmp_path / reason[-9:])) == 1
        shown = capsys.readouterr().out
        assert reason in shown and "the first: " in shown
    assert "1 predictions have a field 'model', which is not read" in shown


def test_the_help_of_score_names_the_formats_and_their_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for said in ("JSON lines", "native", "convention", "tracer schema", "docs/benchmarks.md"):
        assert said in shown


def test_protocols_and_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("protocols") == 0
    assert "p1-high-7708" in capsys.readouterr().out
    assert run("protocols", "osworld", "verified-50") == 0
    assert json.loads(capsys.readouterr().out)["decoding"]["max_steps"] == 50
    assert run("items", "osworld", "--protocol", "verified-50", "--out", str(tmp_path / "i.jsonl")) == 0
    assert len((tmp_path / "i.jsonl").read_text().splitlines()) == 361
