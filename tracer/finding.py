"""A finding: one thing that a check looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``fix`` says what to do, and is empty where nothing needs doing."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
