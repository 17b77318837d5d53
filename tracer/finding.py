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

    def lines(self) -> list[str]:
        """The finding as a list shows it, with its fix below it if it needs one."""
        return [f"{'ok  ' if self.ok else 'FAIL'} {self.name}: {self.detail}", *[f"     -> {self.fix}"] * (not self.ok)]
