"""``tracer why``: what differs between a finished folder and what it would be made of now."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from tracer.json_files import write_json
from tracer.lineage import code
from tracer.lineage.digest import LINEAGE, finished
from tracer.lineage.step import run_step
from tracer.lineage.why import MISSING, STALE, UNFINISHED, UP_TO_DATE, state_of


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A step whose module, data file and library are a plugin's."""
    package = tmp_path / "acme_step"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "run.py").write_text("import msgspec\nx = 1\n")
    (package / "table.csv").write_text("a,b\n")
    (tmp_path / "source.txt").write_text("words")
    monkeypatch.syspath_prepend(str(tmp_path))
    return {
        "name": "s",
        "config": {"a": {"b": 1, "c": None}, "t": (1, 2)},
        "inputs": {"source": tmp_path / "source.txt"},
        "module": "acme_step.run",
        "seed": 0,
    }


@pytest.fixture
def out(tmp_path: Path, recipe: dict[str, Any]) -> Path:
    """Its finished folder."""
    folder = tmp_path / "out"
    make(folder, recipe)
    return folder


def make(out: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    def body(folder: Path) -> dict[str, Any]:
        (folder / "result.txt").write_text("result")
        return {}

    return run_step(out=out, body=body, **recipe)


def test_a_finished_folder_of_the_same_digest_is_up_to_date(out: Path, recipe: dict[str, Any]) -> None:
    assert state_of(out, recipe) == (UP_TO_DATE, [])


def test_a_step_that_never_ran_is_not_made_yet(tmp_path: Path, recipe: dict[str, Any]) -> None:
    assert state_of(tmp_path / "nowhere", recipe) == (MISSING, [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 7}, "seed: 0 -> 7"),
        ({"config": {"a": {"b": 2, "c": None}, "t": (1, 2)}}, "setting a.b: 1 -> 2"),
        ({"config": {"a": {"b": 1}, "t": (1, 2)}}, "setting a.c: null -> nothing"),
        ({"config": {"a": {"b": 1, "c": None, "d": "x"}, "t": (1, 2)}}, "setting a.d: nothing -> x"),
    ],
)
def test_a_setting_that_differs_is_named(
    out: Path, recipe: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    assert state_of(out, recipe | change) == (STALE, [reason])


def test_an_input_a_file_and_a_module_that_differ_are_named(out: Path, recipe: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("other words")
    (tmp_path / "acme_step" / "table.csv").write_text("a,c\n")
    (tmp_path / "acme_step" / "run.py").write_text("import msgspec\nx = 2\n")
    state, reasons = state_of(out, recipe)
    old = json.loads((out / LINEAGE).read_text())
    assert state == STALE
    assert [reason.partition(" -> ")[0] for reason in reasons] == [
        f"input source: {old['inputs']['source']['digest'][:12]}",
        f"code of acme_step.run: {old['code']['modules']['acme_step.run']}",
        f"file acme_step/table.csv: {old['code']['files']['acme_step/table.csv']}",
    ]


def test_a_library_of_another_version_is_named(
    out: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(code.importlib.metadata, "version", lambda name: "9.9" if name == "msgspec" else real(name))
    assert state_of(out, recipe) == (STALE, [f"version of msgspec: {real('msgspec')} -> 9.9"])


def test_an_unfinished_folder_is_resumed_or_says_what_it_was_started_with(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    def crash(folder: Path) -> dict[str, Any]:
        raise RuntimeError("killed")

    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="killed"):
        run_step(out=out, body=crash, **recipe)
    assert state_of(out, recipe) == (UNFINISHED, ["it was started, and will be resumed"])
    assert state_of(out, recipe | {"seed": 1}) == (STALE, ["seed: 0 -> 1"])


def test_what_was_set_aside_and_fits_again_is_announced(out: Path, recipe: dict[str, Any]) -> None:
    first = finished(out)
    make(out, recipe | {"seed": 1})
    state, reasons = state_of(out, recipe)
    assert state == STALE and ".stale" in reasons[0] and reasons[1:] == ["seed: 1 -> 0"]
    assert make(out, recipe) == first


def test_a_folder_of_the_first_scheme_says_so_and_goes_to_stale_whole(out: Path, recipe: dict[str, Any]) -> None:
    lineage = json.loads((out / LINEAGE).read_text())
    del lineage["scheme"]
    write_json(out / LINEAGE, lineage | {"code": "c" * 64, "digest": "d" * 64})
    assert state_of(out, recipe) == (STALE, ["its digest follows scheme 1, and the current one is 2"])
    made = make(out, recipe)
    assert made["scheme"] == 2 and state_of(out, recipe) == (UP_TO_DATE, [])
    aside = out.parent / ".stale" / f"out-{'d' * 12}"
    assert (aside / "result.txt").read_text() == "result" and finished(aside)["digest"] == "d" * 64
