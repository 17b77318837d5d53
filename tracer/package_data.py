"""The data files of this package: scripts, templates, lists. A module that names one has it in its code's digest."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent


def path(name: str) -> Path:
    """A data file, named by its path in the package, such as ``"environments/elements.js"``.

    Name the file by a plain string: ``lineage.code`` looks for such strings to find what a module reads.
    """
    return ROOT / name


def read(name: str) -> str:
    """The text of a data file, named as for ``path``."""
    return path(name).read_text(encoding="utf-8")
