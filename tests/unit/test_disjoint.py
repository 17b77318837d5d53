"""No state of an earlier split stays in a later one, and nothing else is lost."""

import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.episodes import episode, sample, write_raw
from tracer.ingestion.disjoint import make_disjoint, overlaps
from tracer.sources.jsonl import read
from tracer.sources.source import SourceError


def twin(line: dict[str, Any], split: str, number: int) -> dict[str, Any]:
    """The same screens and goal at another seed."""
    return {**line, "id": f"{line['task']}/{number}", "seed": number, "split": split}


@pytest.fixture
def raw(tmp_path) -> Path:
    train = episode("train", 0)
    later = [twin(train, "test", 7), twin(episode("validation", 3), "test", 8), episode("test", 9)]
    return write_raw(tmp_path, [train, twin(train, "train", 6), episode("validation", 3), *later])


def ids(folder: Path) -> list[str]:
    return [trajectory.id for trajectory in read(folder)]


def test_later_episodes_with_a_state_of_an_earlier_split_are_dropped_with_their_pictures(raw):
    assert make_disjoint(raw) == {
        "click-two/7": "click-two/6",
        "click-two/8": "jsonl/click-two/3",
    }
    assert ids(raw / "test") == ["jsonl/click-two/9"]
    assert len(ids(raw / "train")) == 2  # repetition inside a split is not leakage
    with tarfile.open(raw / "test/click-two.tar") as archive:
        assert archive.getnames() == ["click-two-9-0.png", "click-two-9-1.png"]
    assert overlaps(raw) == {}


def test_disjoint_files_are_left_as_they_are(tmp_path):
    write_raw(tmp_path, sample())
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*.*")}
    assert make_disjoint(tmp_path) == {}
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*.*")}


def test_a_shared_later_step_is_enough(tmp_path):
    first, second = episode("train", 0), episode("test", 1)
    second["goal"], second["steps"][1] = first["goal"], first["steps"][1]
    write_raw(tmp_path, [first, second])
    assert overlaps(tmp_path) == {"jsonl/click-two/1": "jsonl/click-two/0"}


def test_a_broken_record_is_named(tmp_path):
    line = episode("train", 0)
    line["steps"][0]["action"] = {"type": "teleport"}
    write_raw(tmp_path, [line])
    with pytest.raises(SourceError, match=r"click-two\.jsonl, row 1: unknown action"):
        overlaps(tmp_path)
