"""The digest of a step's code."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from tracer.lineage.digest import digest_of


def code_digest(module: str) -> str:
    """The digest of a module's source and of every tracer module it imports, however indirectly."""
    seen: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = None if name in seen else _source(name)
        if path is None:
            continue
        seen[name], imported = _parsed(path.read_bytes())
        todo += imported
    return digest_of(seen)


@cache
def _parsed(source: bytes) -> tuple[str, tuple[str, ...]]:
    """The digest of a module's source, and the names it imports from tracer."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tracer"):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.startswith("tracer")]
    return hashlib.sha256(source).hexdigest(), tuple(names)


def _source(name: str) -> Path | None:
    """The file of a tracer module, found without importing anything; None for a name imported from a module."""
    place = Path(__file__).parents[2].joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
