"""Writes Multimodal-Mind2Web as it is published: Parquet files of steps, JSON in JSON in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.episodes import picture

WIDTH, HEIGHT = 128, 400
REPRS = ["[button]  Search -> CLICK", "[textbox]  From -> TYPE: Boston", "[combobox]  Class -> SELECT: First"]
OPERATIONS = [
    {"op": "CLICK", "original_op": "HOVER", "value": ""},
    {"op": "TYPE", "original_op": "TYPE", "value": "Boston"},
    {"op": "SELECT", "original_op": "SELECT", "value": "First"},
]


def candidate(rect: str, node: str = "12", original: bool = False, tag: str = "button", **attributes: str) -> str:
    inner = json.dumps({"backend_node_id": node, "bounding_box_rect": rect, "class": "c", **attributes})
    fields = {"tag": tag, "backend_node_id": node, "attributes": inner, "is_original_target": original}
    return json.dumps({**fields, "is_top_level_target": not original})


def row(task: str, index: int, **fields: Any) -> dict[str, Any]:
    outer, inner = "16,80,64,40", "32,90,16,20"
    return {
        "annotation_id": task,
        "action_uid": f"{task}-{index}",
        "confirmed_task": f"Book a flight, {task}",
        "website": "united",
        "domain": "Travel",
        "subdomain": "Airlines",
        "screenshot": {"bytes": picture(f"{task}-{index}", WIDTH, HEIGHT), "path": None},
        "raw_html": "<html>" + "x" * 2000,
        "cleaned_html": "<html>",
        "operation": json.dumps(OPERATIONS[index % 3]),
        "pos_candidates": [candidate(outer, tag="div"), candidate(inner, "13", original=True)],
        "neg_candidates": [candidate("0,0,20,20", "1", tag="a", aria_label="Home")],
        "action_reprs": [REPRS[each % 3] for each in range(3)],
        "target_action_index": str(index),
        "target_action_reprs": REPRS[index % 3],
        **fields,
    }


def schema(joined: bool = False) -> pa.Schema:
    names = ("annotation_id", "action_uid", "confirmed_task", "website", "domain", "subdomain", "raw_html",
             "cleaned_html", "operation", "target_action_index", "target_action_reprs")  # fmt: skip
    lists = ("pos_candidates", "neg_candidates", *(() if joined else ("action_reprs",)))
    fields = [pa.field(name, pa.string()) for name in (*names, *(("action_reprs",) if joined else ()))]
    fields += [pa.field(name, pa.list_(pa.string())) for name in lists]
    return pa.schema([*fields, pa.field("screenshot", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))])


def write_file(path: Path, rows: list[dict[str, Any]], joined: bool = False, rows_a_group: int = 4) -> None:
    """``joined`` writes ``action_reprs`` as one text of lines, as some files do."""
    if joined:
        rows = [{**each, "action_reprs": "\n".join(each["action_reprs"])} for each in rows]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema(joined)), path, row_group_size=rows_a_group)


def write(folder: Path) -> Path:
    """Two training files with one task over their border, out of order; each test split once."""
    data = folder / "data"
    data.mkdir(parents=True)
    first = [row("t1", index) for index in (2, 0, 1)] + [row("t2", 0)]
    second = [row("t2", 1), row("t2", 2), *(row("t3", index) for index in range(3))]
    write_file(data / "train-00000-of-00002-0a1b.parquet", first)
    write_file(data / "train-00001-of-00002-2c3d.parquet", second, rows_a_group=2)
    for split in ("test_task", "test_website", "test_domain"):
        write_file(data / f"{split}-00000-of-00001-4e5f.parquet", [row("q1", index) for index in range(3)], joined=True)
    return folder
