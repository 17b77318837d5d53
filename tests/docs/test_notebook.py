"""The notebook: its cells run, and its pictures are there for those who only read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.docs.commands import ROOT
from tracer import flow
from tracer.config import load

NOTEBOOK = json.loads((ROOT / "examples/forecast.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On the base planner and a little data, without the registry that `make demo` makes."""
    for name in ("params.yaml", "data", "data.dvc"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "examples").mkdir()
    monkeypatch.chdir(tmp_path / "examples")
    source = "\n".join(line for cell in CODE for line in ["", *"".join(cell["source"]).split("\n")])
    assert source.count('"tracer-planner@champion"') == source.count('load("demo")') == 1
    source = source.replace('"tracer-planner@champion"', '"base"').replace('load("demo")', 'load("micro")')
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        flow.step("ingest").run(load("micro"))
    space: dict[str, Any] = {}
    exec(compile(source, "forecast.ipynb", "exec"), space)
    assert Path.cwd() == tmp_path and space["plan"].text in capsys.readouterr().out
    assert space["example"].trajectory and len(space["right"]) == len(space["steps"])


def test_it_was_run_before_it_was_committed() -> None:
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    assert "image/png" in CODE[-1]["outputs"][0]["data"]
