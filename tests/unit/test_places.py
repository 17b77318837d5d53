"""Where outputs lie and what becomes of them: permissions, foreign files, foreign repositories, damaged files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from tracer.cli import main
from tracer.evaluation.results import read_scores
from tracer.json_files import DamagedFile, read_json, write_json
from tracer.lineage import provenance
from tracer.lineage.digest import finished
from tracer.lineage.step import run_step
from tracer.planner.plan import PlannerSettings
from tracer.planner.tiny import build_model, build_processor
from tracer.planner.transformers import TransformersPlanner
from tracer.registry import users
from tracer.registry.settings import RegistryConfig
from tracer.scoring.paired import read_summary
from tracer.training.checkpoints import WHOLE, last_checkpoint
from tracer.training.gates import require

SETTINGS = PlannerSettings(grammar="pointing", horizon=5, history=4, image=True, max_new_tokens=8)


@pytest.fixture(scope="module")
def planner() -> TransformersPlanner:
    torch.manual_seed(0)
    processor = build_processor(["goal button text"], 300)
    return TransformersPlanner(build_model(processor, 32, 1), processor, SETTINGS, "tiny")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_weights_are_readable_for_whom_the_folder_is(
    planner: TransformersPlanner, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        planner.save(tmp_path / "model")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {each.name: oct(mode) for each in files}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "planner.json", "tokenizer.json"])
@pytest.mark.parametrize("left", [0, 1, 40, -1])
def test_a_model_that_was_cut_off_is_named(planner: TransformersPlanner, tmp_path: Path, name: str, left: int) -> None:
    planner.save(tmp_path / "model")
    path = tmp_path / "model" / name
    content = path.read_bytes().rstrip()
    path.write_bytes(content[:left])
    with pytest.raises(DamagedFile, match=rf"model/{name} is damaged or cut off"):
        TransformersPlanner.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.json", None), ("config.json", "{}"), ("model.safetensors", None), ("processor_config.json", None),
     ("tokenizer.json", "[]"), ("tokenizer.json", None), ("chat_template.jinja", b"\xff")],
)  # fmt: skip
def test_a_model_of_which_a_file_is_gone_or_makes_no_sense_is_named(
    planner: TransformersPlanner, tmp_path: Path, name: str, content: str | bytes | None
) -> None:
    planner.save(tmp_path / "model")
    path = tmp_path / "model" / name
    path.unlink() if content is None else path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DamagedFile, match=r"/model is damaged or cut off \(its (model|processor) does not load"):
        TransformersPlanner.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", "null", "[]", '{"digest'])
def test_a_damaged_json_file_is_named(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lineage.json").write_text(content, encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"lineage\.json is damaged"):
        finished(tmp_path)
    write_json(tmp_path / "lineage.json", {"digest": "1", "output": "2"})
    for name, read in {"scores.json": read_scores, "gate.json": require, "summary.json": read_summary}.items():
        if name == "summary.json":
            name = "scores.json"
        if content in ("", "{", '{"digest'):
            (tmp_path / name).write_text(content, encoding="utf-8")
            with pytest.raises(DamagedFile, match=rf"{name} is damaged"):
                read(tmp_path)
    damaged = (tmp_path / "scores.json").is_file()
    assert main(["compare", str(tmp_path), str(tmp_path)]) == (1 if damaged else 2)
    assert "Traceback" not in capsys.readouterr().err


def test_a_json_file_without_what_it_must_have_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1})
    assert read_json(tmp_path / "a.json", "b") == {"b": 1}
    with pytest.raises(DamagedFile, match=r"a\.json is damaged or cut off \(it has no c\)"):
        read_json(tmp_path / "a.json", "b", "c")


def test_only_the_trainers_own_folders_are_checkpoints(planner: TransformersPlanner, tmp_path: Path) -> None:
    for name in ("checkpoint-2", "checkpoint-10", "checkpoint-30", "checkpoint-4-hf"):
        planner.model.save_pretrained(tmp_path / name)
        if name != "checkpoint-30":
            (tmp_path / name / WHOLE).touch()
    for name in ("checkpoint-1-hf", "checkpoint-", "checkpoint-99", "checkpoint-7.tar"):
        (tmp_path / name).touch()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"checkpoint-2", "checkpoint-10", "checkpoint-4-hf",
                    "checkpoint-1-hf", "checkpoint-", "checkpoint-99", "checkpoint-7.tar"}  # fmt: skip
    with open(tmp_path / "checkpoint-10" / "model.safetensors", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(DamagedFile, match=r"checkpoint-10/model\.safetensors"):
        last_checkpoint(tmp_path)


def test_another_repository_around_the_code_is_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        named = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *named, *arguments], cwd=tmp_path, check=True, capture_output=True, encoding="utf-8"
        ).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "theirs")
    for place in ("unpacked/", ""):
        code = tmp_path / f"{place}tracer/lineage/provenance.py"
        code.parent.mkdir(parents=True)
        code.touch()
        monkeypatch.setattr(provenance, "__file__", str(code))
        own = {"commit": git("rev-parse", "HEAD"), "dirty": False}
        assert provenance.git_commit() == ({"commit": None, "dirty": None} if place else own)


@pytest.mark.parametrize(("told", "dirty"), [("4b825dc642cb", False), ("4b825dc642cb-dirty", True)])
def test_an_image_says_what_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, dirty: bool
) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "tracer/lineage/provenance.py"))
    monkeypatch.setenv("TRACER_COMMIT", told)
    assert provenance.git_commit() == {"commit": "4b825dc642cb", "dirty": dirty}


def test_an_empty_volume_behind_the_link_to_the_outputs(tmp_path: Path) -> None:
    (tmp_path / "build").symlink_to(tmp_path / "volume" / "build")
    done = run_step("any", config={}, inputs={}, out=tmp_path / "build/demo/seed0/any", module="tracer.json_lines",
                    body=lambda folder: {})  # fmt: skip
    assert done["step"] == "any"
    assert (tmp_path / "volume/build/demo/seed0/any/lineage.json").is_file()


def test_a_user_without_a_name_decides_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert users.current(RegistryConfig(tracking_uri="sqlite:///mlflow.db")) == "user 54321"
