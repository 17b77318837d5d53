"""A team's checkout with a champion: its registry, its data in DVC, its git history. Tests take copies of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.folders import STATES, Chain, weights
from tracer.config import Config, load
from tracer.lineage import provenance
from tracer.registry import promotion, register

ROOT = Path(__file__).parents[1]
PARAMS = "profile: test\nprofiles: {test: {stage1: {steps: 5}}}\n"
ONLINE = [1.0, 0.0] * 12


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def dvc(*arguments: str) -> None:
    run(sys.executable, "-m", "dvc", *arguments)


def commit() -> None:
    run("git", "add", "--all")
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "work")


def enter(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Make a checkout the working folder, and that of the code as far as git is asked."""
    patch.chdir(root)
    patch.setattr(provenance, "__file__", str(root / "tracer" / "lineage" / "provenance.py"))
    patch.setenv("DVC_NO_ANALYTICS", "1")


def config() -> Config:
    """The configuration of the checkout that is the working folder."""
    return load(overrides=[f"registry.tracking_uri=sqlite:///{Path.cwd()}/mlflow.db"])


def begun(root: Path) -> None:
    """A checkout in a new folder, with code, parameters and pinned data, committed and pushed to ``../remote``."""
    shutil.copytree(ROOT / "tracer", root / "tracer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / provenance.LOCK, root)
    (root / "params.yaml").write_text(PARAMS)
    (root / "mlflow").mkdir()
    shutil.copy(ROOT / "mlflow" / "promotion.yaml", root / "mlflow")
    with pytest.MonkeyPatch.context() as patch:
        enter(root, patch)
        run("git", "init", "--quiet")
        dvc("init", "--quiet")
        dvc("remote", "add", "--quiet", "--default", "team", "../remote")
        Path(".gitignore").write_text("/build\n/data\n/mlflow.db\n/mlartifacts\n")
        Path("data/base").mkdir(parents=True)
        Path("data/raw").mkdir()
        Path("data/raw/episodes.jsonl").write_text("{}\n")
        Path("data/base/model.safetensors").write_bytes(weights(0))
        pin()


def pin() -> None:
    """Pin the data as they are, push and commit them."""
    dvc("add", "--quiet", "data")
    dvc("push", "--quiet")
    commit()


def champion(number: int = 1) -> None:
    """A version whose weights are ``number``, registered in the working folder and promoted."""
    settings = config()
    chain = Chain(settings)
    right = [1.0 if index % 5 < number else 0.0 for index in range(STATES)]
    register.register(settings, settings.out("stage2"), chain.stage2(number, right, ONLINE))
    decision = promotion.promote(settings, chain.base([0.0] * STATES, ONLINE), chain.ingest)
    assert decision.promoted, decision.reason


def team(root: Path) -> None:
    """A begun checkout with a champion."""
    begun(root)
    with pytest.MonkeyPatch.context() as patch:
        enter(root, patch)
        champion()


def copied(root: Path, to: Path, patch: pytest.MonkeyPatch) -> Path:
    """A copy of a checkout and of its remote, which is then the working folder."""
    shutil.copytree(root.parent, to, symlinks=True)
    enter(to / root.name, patch)
    return to / root.name


@contextmanager
def retrained(root: Path) -> Iterator[None]:
    """A team's checkout, entered, whose second champion was made of other data than the first."""
    team(root)
    with pytest.MonkeyPatch.context() as patch:
        enter(root, patch)
        Path("data/raw/episodes.jsonl").write_text("{}\n{}\n")
        pin()
        champion(3)
        yield
