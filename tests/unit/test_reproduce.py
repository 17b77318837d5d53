"""How two makings of a step are told apart. That a version is made again: tests/integration/test_reproduce.py."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.folders import Chain
from tracer.config import Config
from tracer.lineage import provenance
from tracer.lineage.step import read_lineage
from tracer.registry import reproduce
from tracer.registry.tracking import RegistryError

ROOT = Path(__file__).parents[2]
LINEAGE: dict[str, Any] = {
    "step": "stage1",
    "seed": 0,
    "config": {"stage1": {"steps": 2}},
    "inputs": {"base": {"path": "data/base", "digest": "a" * 64}},
    "code": {"modules": {"tracer.reward": "1"}, "files": {}, "libraries": {"torch": "2.13.0"}},
    "versions": {"python": "3.11.7", "torch": "2.13.0+cpu"},
    "hardware": {"cpu": "EPYC", "cores": 2, "gpus": [], "threads": 1, "instructions": "AVX2"},
}


@pytest.mark.parametrize(
    ("part", "now", "cause"),
    [
        ("config", {"stage1": {"steps": 3}}, "setting stage1.steps: 2 -> 3"),
        ("inputs", {"base": {"path": "b", "digest": "c" * 64}}, f"input base: {'a' * 12} -> {'c' * 12}"),
        ("seed", 1, "seed: 0 -> 1"),
        ("code", {**LINEAGE["code"], "modules": {"tracer.reward": "2"}}, "code of tracer.reward: 1 -> 2"),
        ("versions", {"python": "3.11.7", "torch": "2.13.0+cu130"}, "version of torch: 2.13.0+cpu -> 2.13.0+cu130"),
        ("hardware", {**LINEAGE["hardware"], "threads": 2}, "threads: 1 -> 2"),
        ("hardware", {**LINEAGE["hardware"], "instructions": "AVX512"}, "instructions: AVX2 -> AVX512"),
        ("hardware", {**LINEAGE["hardware"], "cpu": "Xeon"}, "cpu: EPYC -> Xeon"),
        ("hardware", {**LINEAGE["hardware"], "cores": 64}, None),  # which the number of threads stands for
    ],
)
def test_each_cause_is_what_the_lineages_have_otherwise(part: str, now: Any, cause: str | None) -> None:
    assert list(reproduce._causes(LINEAGE, {**LINEAGE, part: now})) == ([cause] if cause else [])


def test_what_was_looked_at_and_is_the_same_is_said() -> None:
    causes = ("setting stage1.steps: 2 -> 3", "threads: 1 -> 2")
    found = reproduce.Remade(step="stage1", then="a", now="b", causes=causes)
    assert found.ruled_out == ["seed", "input", "code", "file", "version", "cpu", "instructions", "gpus"]


def test_a_machine_recorded_without_its_instructions_is_no_cause() -> None:
    old = {name: value for name, value in LINEAGE["hardware"].items() if name != "instructions"}
    assert list(reproduce._causes({**LINEAGE, "hardware": old}, LINEAGE)) == []


def test_the_first_tensor_that_differs_is_named_with_how_far(tmp_path: Path) -> None:
    then = {"a": torch.zeros(2), "b": torch.ones(3, dtype=torch.bfloat16), "c": torch.zeros(1)}
    others = [
        ({**then, "b": torch.tensor([1, 1, 2], dtype=torch.bfloat16)}, ", tensor b: 1 of 3 numbers, by up to 1.0e+00"),
        ({**then, "b": torch.ones(3)}, ", tensor b: torch.bfloat16 (3,) -> torch.float32 (3,)"),
        ({"b": then["b"], "c": then["c"]}, ", tensor a, which one side lacks"),
        ({**then, "c": torch.tensor([float("nan")])}, ", tensor c: 1 of 1 numbers"),
    ]
    save_file(then, tmp_path / "then.safetensors")
    for now, said in others:
        save_file(now, tmp_path / "now.safetensors")
        assert reproduce._tensor(tmp_path / "then.safetensors", tmp_path / "now.safetensors").startswith(said)


def test_where_outputs_differ_is_told_from_the_folder_of_then_or_the_registered_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config.model_validate({"profile": "test", "data": {"pointer": ""}})
    Chain(config).stage2(1, [1.0], [])
    then = {**read_lineage(config.out("stage2")), "path": str(config.out("stage2"))}
    shutil.copytree(config.out("stage2"), tmp_path / "now")
    (tmp_path / "now" / "metrics.jsonl").write_text("{}\n")
    assert reproduce._place(then, tmp_path / "now", None) == "metrics.jsonl"
    (tmp_path / "now" / "more.json").write_text("{}\n")
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "now" / "model" / "model.safetensors")
    expected = "model.safetensors, tensor weight: 4 of 4 numbers, by up to 1.0e+00"
    assert reproduce._place(then, tmp_path / "now", None) == f"model/{expected}"
    config.out("stage2").rename(tmp_path / "registered")
    assert reproduce._place(then, tmp_path / "now", None).startswith("its files of then are gone")
    assert reproduce._place(then, tmp_path / "now", tmp_path / "registered" / "model") == expected


def test_the_running_environment_is_used_where_the_lock_is_the_same(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="its commit has no constraints"):
        reproduce._python(tmp_path)
    shutil.copy(ROOT / provenance.LOCK, tmp_path)
    assert reproduce._python(tmp_path) == sys.executable


def test_another_lock_gets_an_environment_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / provenance.LOCK).write_text("pydantic==1.0\n")
    made: list[list[str]] = []
    monkeypatch.setattr(reproduce.venv, "create", lambda place, with_pip: made.append([str(place)]))
    monkeypatch.setattr(reproduce, "_done", lambda command, folder, failed: made.append(command))
    assert reproduce._python(tmp_path) == str(tmp_path / ".venv" / "bin" / "python")
    assert made[1][1:4] == ["-m", "pip", "install"] and "-c" in made[1] and provenance.LOCK in made[1]


def test_what_no_commit_or_no_pin_has_cannot_be_made_again(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="in no git checkout"), reproduce._checkout({"commit": None}):
        pass
    with pytest.raises(RegistryError, match="no checkout of 000000000000"), reproduce._checkout({"commit": "0" * 40}):
        pass
    with pytest.raises(RegistryError, match="not pinned by DVC"):
        reproduce._pull({"data": {"pointer": "", "md5": None, "path": "raw"}}, tmp_path)
