"""JSON lines of our own: what a planner writes cannot break them, and a kill costs the row it tore."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer import json_lines

ROWS = [{"text": "one\u2028two\u2029three\x85four\nfive", "number": 0.1}, {"text": "", "number": None}]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = json_lines.write(tmp_path / "rows.jsonl", ROWS)
    assert json_lines.read(path) == list(json_lines.iterate(path)) == ROWS
    assert path.read_bytes().count(b"\n") == len(ROWS)
    assert [item.name for item in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_torn_row_is_cut_off_and_so_is_a_torn_chunk(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert json_lines.take_up(path) == []
    path.write_bytes(b"".join(map(json_lines.one, ROWS)) + b'{"text": "to')
    assert json_lines.take_up(path) == ROWS
    assert json_lines.read(path) == ROWS
    path.write_bytes(b"".join(map(json_lines.one, [*ROWS, ROWS[0]])))
    assert json_lines.take_up(path, chunk=2) == ROWS == json_lines.read(path)
    path.write_bytes(json_lines.one(ROWS[0]) + b"\0" * 40 + b"\n" + json_lines.one(ROWS[1]))  # as a crash leaves it
    assert json_lines.take_up(path) == ROWS[:1] == json_lines.read(path)


def test_a_line_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n{\n")
    with pytest.raises(ValueError, match="unexpected"):
        json_lines.read(tmp_path / "rows.jsonl")
