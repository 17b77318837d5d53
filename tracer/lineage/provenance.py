"""Where an output was made: commit, lock, hardware, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracer.lineage.code import LIBRARIES
from tracer.lineage.digest import file_digest

LOCK = "constraints.txt"
COMMIT = "TRACER_COMMIT"
"""What an image, which holds no checkout, was built from: a commit, followed by ``-dirty`` where the tree differed."""


def git_commit() -> dict[str, Any]:
    """The commit of the code and whether the tree differs from it.

    Outside a checkout it is what ``TRACER_COMMIT`` says, or None. Code that was unpacked inside another repository is
    outside: that repository's commit is not its own.
    """
    top = _git("rev-parse", "--show-toplevel")
    if top is None or not Path(top.decode().strip()).samefile(root()):
        told = os.environ.get(COMMIT, "")
        return {"commit": told.removesuffix("-dirty") or None, "dirty": told.endswith("-dirty") if told else None}
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": None if commit is None else commit.decode().strip(),
        "dirty": None if changes is None else bool(changes.strip()),
    }


def committed(commit: str, paths: Iterable[str]) -> dict[str, bytes]:
    """Those of the files that the code's repository has at a commit, by path."""
    names = list(paths)
    answer = _git("cat-file", "--batch", given="".join(f"{commit}:{name}\n" for name in names))
    if answer is None:
        return {}
    found, at = {}, 0
    for name in names:
        header, at = answer[at : answer.index(b"\n", at)].split(), answer.index(b"\n", at) + 1
        if header[-1] != b"missing":
            size = int(header[-1])
            found[name], at = answer[at : at + size], at + size + 1
    return found


def lock_digest() -> str | None:
    """The digest of constraints.txt, which pins every dependency; None for an installation without it."""
    path = root() / LOCK
    return file_digest(path) if path.is_file() else None


def root() -> Path:
    """The folder that the code is in: the repository's, where there is one."""
    return Path(__file__).parents[2]


def _git(*arguments: str, given: str = "") -> bytes | None:
    """What git says in the code's repository; None where there is no git, or it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, input=given.encode(), cwd=root())
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def hardware() -> dict[str, Any]:
    """The processor, its cores, the GPUs and, where torch is loaded, what decides the last bits: its threads and the
    instruction set that it uses."""
    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch is not None else []
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    last_bits = (
        {"threads": torch.get_num_threads(), "instructions": torch.backends.cpu.get_cpu_capability()}
        if torch is not None
        else {}
    )
    return {"cpu": cpu, "cores": os.cpu_count(), "gpus": gpus, **last_bits}


def library_versions() -> dict[str, str]:
    """The installed versions, local parts included, of Python and of the libraries that shape results."""
    found = {"python": platform.python_version()}
    for package in sorted({name for names in LIBRARIES.values() for name in names}):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
