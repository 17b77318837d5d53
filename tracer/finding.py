"""A finding: one thing that a check looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``fix`` says what to do, and is empty where nothing needs doing.

    ``command`` is a fix that loses nothing, so that a program may run it.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    command: tuple[str, ...] = ()
