"""JSON lines that tracer writes itself: one object a line.

A line ends with a newline and with nothing else. What people and planners write holds characters (U+2028 and the like)
at which ``str.splitlines`` would break it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tracer.json_files import DamagedFile


def iterate(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, one by one; raises ``DamagedFile`` for a line that is not valid JSON."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = orjson.loads(line)
            except ValueError as error:
                raise DamagedFile(path, f"line {number}: {error}") from error
            yield row


def read(path: Path) -> list[dict[str, Any]]:
    """Every row of a file."""
    return list(iterate(path))


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the rows, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        file.writelines(map(one, rows))
    os.replace(part, path)
    return path


def one(row: Mapping[str, Any]) -> bytes:
    """The line of a row."""
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def take_up(path: Path, chunk: int = 1) -> list[dict[str, Any]]:
    """The rows that a killed run left, in whole chunks; what a kill or a crash tore off is cut from the file."""
    found = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(orjson.JSONDecodeError):  # a crash of the machine can leave zeros
        for line in found:
            if line.endswith(b"\n"):
                rows.append(orjson.loads(line))
    whole = len(rows) // chunk * chunk
    if whole < len(found):
        path.write_bytes(b"".join(found[:whole]))
    return rows[:whole]
