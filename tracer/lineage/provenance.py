"""Where an output was made: commit, lock, hardware, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from tracer.lineage.code import LIBRARIES
from tracer.lineage.digest import file_digest


def git_commit() -> dict[str, Any]:
    """The commit of the code and whether the tree differs from it; None outside a checkout.

    Code that was unpacked inside another repository has no commit: that repository's is not its own.
    """
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", cwd=root)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or not Path(top).samefile(root):
        return {"commit": None, "dirty": None}
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def lock_digest() -> str | None:
    """The digest of constraints.txt, which pins every dependency; None for an installation without it."""
    path = Path(__file__).parents[2] / "constraints.txt"
    return file_digest(path) if path.is_file() else None


def hardware() -> dict[str, Any]:
    """The processor, its cores, the GPUs and, where torch is loaded, its threads, which decide the last bits."""
    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch is not None else []
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    threads = {"threads": torch.get_num_threads()} if torch is not None else {}
    return {"cpu": cpu, "cores": os.cpu_count(), "gpus": gpus, **threads}


def library_versions() -> dict[str, str]:
    """The installed versions, local parts included, of Python and of the libraries that shape results."""
    found = {"python": platform.python_version()}
    for package in sorted({name for names in LIBRARIES.values() for name in names}):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
