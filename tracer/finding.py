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
        shown = [f"{'ok  ' if self.ok else 'FAIL'} {self.name}: {self.detail}"]
        return shown if self.ok else [*shown, f"     -> {self.fix}"]
