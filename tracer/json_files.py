"""JSON: files written whole or not at all, and nested values under dotted names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class DamagedFile(ValueError):
    """A file of ours that is cut off or was written over; the message names it."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(
            f"{path} is damaged or cut off ({why}): bring it back, or delete its folder and run the step that makes it"
        )


def read_json(path: Path, *keys: str) -> Any:
    """The value in a file; raises ``DamagedFile``, also for an object without one of ``keys``."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedFile(path, error) from error
    missing = [key for key in keys if not isinstance(found, dict) or key not in found]
    if missing:
        raise DamagedFile(path, f"it has no {', '.join(missing)}")
    return found


def write_json(path: Path, value: Any) -> None:
    """Write a value as ``write_whole`` writes a text."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def write_whole(path: Path, content: str | bytes) -> None:
    """Write atomically: a reader, or a run after a kill, sees the old file or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # what a full disk leaves would count into the output's digest


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat.update(flatten(item, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = item
    return flat
