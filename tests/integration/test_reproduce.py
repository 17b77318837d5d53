"""A registered version is made again on another day: equal, and with the cause where it is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import accelerate
import pytest
import yaml

from tests.checkouts import commit, dvc, run
from tests.integration.test_pipeline import POLICY
from tracer.lineage.pins import pinned_md5
from tracer.lineage.provenance import LOCK

ROOT = Path(__file__).parents[2]
MODEL = "tracer-planner@champion"
NEXT = """
from tracer import flow
from tracer.config import load
config = load("micro", ["registry.enabled=true", "retrain.from=champion", "retrain.replay=0.5"])
last = flow.step("register")
for step in (*flow.before(last), last):
    step.run(config)
print({name: state for name, state in flow.status(config).items() if name in {step.name for step in flow.before(last)}})
"""
TRAINED = """
from tracer import flow
from tracer.config import load
config = load("micro", ["registry.enabled=true"])
last = flow.step("promote")
for step in (*flow.before(last), last):
    step.run(config)
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def python(checkout: Path, *arguments: str, executable: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Python in a checkout, whose code is the one that runs."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
    }
    command = [executable, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, encoding="utf-8")


def reproduce(
    checkout: Path, *arguments: str, model: str = MODEL, executable: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    return python(checkout, "-m", "tracer", "reproduce", model, *arguments, executable=executable)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A team's checkout, committed, its data pushed, with a version of micro registered from it."""
    root = tmp_path_factory.mktemp("team") / "checkout"
    shutil.copytree(ROOT / "tracer", root / "tracer", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (LOCK, "params.yaml", "data.dvc"):
        shutil.copy(ROOT / name, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        shutil.copytree(ROOT / "data", "data")
        Path("mlflow").mkdir()
        # Two steps of training make nothing better; they must only not make it worse.
        Path("mlflow/promotion.yaml").write_text(yaml.safe_dump({**POLICY, "first": "not_worse"}))
        run("git", "init", "--quiet")
        dvc("init", "--quiet")
        dvc("remote", "add", "--quiet", "--default", "team", str(root.parent / "remote"))
        Path(".gitignore").write_text("/build\n/data\n/mlflow.db\n/mlartifacts\n__pycache__\n")
        dvc("add", "--quiet", "data")
        dvc("push", "--quiet")
        commit()
        done = python(root, "-c", TRAINED)
        assert done.returncode == 0, done.stderr
        yield root


@contextmanager
def registered_as(checkout: Path, **changes: Any) -> Iterator[None]:
    """What the version says of its making, changed for a while."""
    documents = {path: path.read_text() for path in checkout.rglob("mlartifacts/**/lineage.json")}
    (stored,) = [path for path, text in documents.items() if '"overrides"' in text and '"retrain.from"' not in text]
    before = documents[stored]
    stored.write_text(json.dumps({**json.loads(before), **changes}))
    yield
    stored.write_text(before)


def test_it_comes_out_equal_and_leaves_nothing_behind(checkout: Path) -> None:
    marked = python(checkout, "-m", "tracer", "lineage", MODEL, "--json")
    assert json.loads(marked.stdout)["not_rebuildable"] == []
    done = reproduce(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == [
        "ingest: equal", "stage1: equal", "stage2: equal",
    ]  # fmt: skip
    trees = subprocess.run(["git", "worktree", "list"], cwd=checkout, capture_output=True, text=True).stdout
    assert len(trees.splitlines()) == 1


def test_what_was_trained_from_the_champion_comes_out_equal(checkout: Path) -> None:
    trained = python(checkout, "-c", NEXT)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("up to date") == 8, trained.stdout
    told = json.loads(python(checkout, "-m", "tracer", "lineage", "tracer-planner/2", "--json").stdout)
    assert told["not_rebuildable"] == [] and told["steps"]["base"]["config"]["version"] == "tracer-planner/1"
    assert told["steps"]["stage2"]["config"]["replay"] == 0.5
    first = json.loads(python(checkout, "-m", "tracer", "lineage", "tracer-planner/1", "--json").stdout)
    assert told["steps"]["stage1"]["output"] != first["steps"]["stage1"]["output"]
    done = reproduce(checkout, model="tracer-planner/2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == [
        "ingest: equal", "base: equal", "stage1: equal", "stage2: equal",
    ]  # fmt: skip


def test_a_restored_backup_forecasts_and_reproduces(checkout: Path, tmp_path: Path) -> None:
    """On an emptied machine: the checkout, its registry and its remote are away."""
    backup, new = tmp_path / "backup", tmp_path / "new"
    assert python(checkout, "-m", "tracer", "backup", str(backup)).returncode == 0
    away = [path.rename(path.with_suffix(".away")) for path in (checkout, checkout.parent / "remote")]
    try:
        run("git", "clone", "--quiet", str(backup / "code.bundle"), str(new))
        for command in (["restore", str(backup)], ["forecast", MODEL, "--profile", "micro"], ["reproduce", MODEL]):
            done = python(new, "-m", "tracer", *command)
            assert done.returncode == 0, done.stdout + done.stderr
        assert "stage2: equal" in done.stdout
    finally:
        shutil.rmtree(checkout.parent / "remote")  # restoring filled it again
        for path in away:
            path.rename(path.with_suffix(""))


def test_a_changed_parameter_is_named_with_the_first_tensor(checkout: Path) -> None:
    with registered_as(checkout, overrides={"registry.enabled": True, "stage1.learning_rate": 0.5}):
        done = reproduce(checkout)
    assert done.returncode == 1
    assert "ingest: equal" in done.stdout and "stage1: differs" in done.stdout and "stage2" not in done.stdout
    assert "first in model/model.safetensors, tensor " in done.stdout
    assert "learning_rate: " in done.stdout and "-> 0.5" in done.stdout
    assert "  the same: seed, input, code, file, version, threads, cpu, instructions, gpus" in done.stdout


def test_a_changed_byte_of_the_data_is_named(checkout: Path) -> None:
    path = next((checkout / "data" / "raw" / "train").glob("*.jsonl"))
    before = path.read_bytes()
    at = before.index(b'"goal"') + 9
    path.write_bytes(before[:at] + bytes([before[at] ^ 32]) + before[at + 1 :])
    dvc("add", "--quiet", "data")
    dvc("push", "--quiet")
    other = json.loads(python(checkout, "-m", "tracer", "lineage", MODEL, "--json").stdout)
    data = {"path": "data/raw", "pointer": "data.dvc", "folder": "data", "md5": pinned_md5(Path("data.dvc"))}
    with registered_as(checkout, data=data):
        done = reproduce(checkout)
    path.write_bytes(before)
    dvc("add", "--quiet", "data")
    assert other["steps"]["ingest"]["inputs"]["raw"]["digest"][:12] in done.stdout
    assert done.returncode == 1 and "ingest: differs" in done.stdout and "    input raw: " in done.stdout


def test_data_that_no_remote_has_are_said(checkout: Path) -> None:
    data = {"path": "data/raw", "pointer": "data.dvc", "folder": "data", "md5": "0" * 32 + ".dir"}
    with registered_as(checkout, data=data):
        done = reproduce(checkout)
    assert done.returncode == 1 and f"nor a remote has the data {'0' * 32}.dir" in done.stderr


def test_another_number_of_threads_is_named(checkout: Path) -> None:
    done = reproduce(checkout, "--threads", "2")
    assert done.returncode == 1 and "stage1: differs" in done.stdout
    assert "    threads: 1 -> 2" in done.stdout
    assert "  the same: seed, setting, input, code, file, version, cpu" in done.stdout


def test_a_library_that_is_not_the_pinned_one_is_named(checkout: Path, tmp_path: Path) -> None:
    """An environment that somebody changed by hand: the lock is the same, and one package is not what it pins."""
    venv.create(tmp_path / "venv", symlinks=True)
    own = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    installed = Path(accelerate.__file__).parents[1]
    (own / "installed.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("-packages")))
    shutil.copytree(installed / "accelerate", own / "accelerate")
    shutil.copytree(installed / f"accelerate-{accelerate.__version__}.dist-info", own / "accelerate-99.0.dist-info")
    metadata = own / "accelerate-99.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace(f"Version: {accelerate.__version__}", "Version: 99.0"))
    optimizer = own / "accelerate" / "optimizer.py"
    head = "    def step(self, closure=None):\n"
    further = "        self.optimizer.param_groups[0]['params'][0].data.add_(1e-3)\n"
    optimizer.write_text(optimizer.read_text().replace(head, head + further))
    done = reproduce(checkout, executable=str(tmp_path / "venv" / "bin" / "python"))
    assert done.returncode == 1 and "stage1: differs" in done.stdout, done.stdout + done.stderr
    assert f"    version of accelerate: {accelerate.__version__} -> 99.0" in done.stdout
    assert "  the same: seed, setting, input, code, file, threads, cpu" in done.stdout
