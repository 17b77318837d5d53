"""Where a recorded result was measured, in words: what every page says of its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def machine(hardware: Mapping[str, Any]) -> str:
    """The GPUs of ``lineage.hardware``, or the processor where there are none."""
    return ", ".join(hardware["gpus"]) or str(hardware["cpu"])


def commit(git: Mapping[str, Any]) -> str:
    """The commit of ``lineage.git_commit``, shortened."""
    return str(git.get("commit") or "unknown")[:12]


def state(git: Mapping[str, Any]) -> str:
    """The commit, and whether the working tree differed from it."""
    return commit(git) + (" with changes" if git.get("dirty") else "")
