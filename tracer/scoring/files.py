"""Reading items and predictions line by line, however large or damaged the files are.

Items are ours to trust: a bad one is an error. Predictions are anybody's: a bad line is a counted failure where it
names its item, and an error that names the line where it does not. Fields that no protocol reads are counted.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from tracer.faults import faults
from tracer.scoring.contract import BenchmarkError, PredictionRow, Row

LONGEST_LINE = 64 * 2**20
"""Bytes of a line beyond which a file is refused."""
LONGEST_PREDICTION = 2**20
"""Bytes of a prediction beyond which it is a counted failure."""
PIECE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]|[^"\[\]{}]+', re.DOTALL)
"""A string, a bracket, or what is between them."""


class Malformed(ValueError):
    """One prediction whose line names its item but cannot be used."""


def given(folder: Path) -> tuple[Path | None, Path | None]:
    """What lies in a benchmark's folder: its items, and what a runner wrote (predictions, or a folder of results)."""
    items, *left = (folder / name for name in ("items.jsonl", "predictions.jsonl", "results"))
    return items if items.is_file() else None, next((path for path in left if path.exists()), None)


def lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(line number from 1, offset, line) of every line that is not blank; raises ``BenchmarkError``."""
    if not path.is_file():
        raise BenchmarkError(f"{path} is not a file; name an existing JSON-lines file")
    with open(path, "rb") as file:
        start = file.read(3)
        if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise BenchmarkError(f"{path} is UTF-16; save it as UTF-8")
        number, offset = 0, len(BOM_UTF8) if start == BOM_UTF8 else 0
        file.seek(offset)
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise BenchmarkError(f"{path}, line {number}: longer than {LONGEST_LINE} bytes; is it JSON lines?")
            if line.strip():
                yield number, offset, line
            offset += len(line)


def items(path: Path, model: type[Row]) -> Iterator[Row]:
    """The validated items of a file; raises ``BenchmarkError`` at the first bad one and at a repeated id."""
    seen: dict[str, int] = {}
    for number, _, line in lines(path):
        try:
            item = model.model_validate(orjson.loads(line))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise BenchmarkError(f"{path}, line {number}: no item of this benchmark: {faults(error)[:400]}") from error
        if item.id in seen:
            raise BenchmarkError(
                f"{path}, line {number}: the id {item.id!r} is on line {seen[item.id]} too; ids are unique"
            )
        seen[item.id] = number
        yield item


@dataclass(frozen=True, slots=True)
class Place:
    """Where a prediction is in its file."""

    number: int
    offset: int
    length: int


class Predictions:
    """A file of predictions by id. Only ids and places are held in memory."""

    def __init__(self, path: Path, model: type[PredictionRow]) -> None:
        """Raises ``BenchmarkError`` for a line without a usable id, and for an id that comes twice."""
        self.path, self.model = path, model
        self.ignored: Counter[str] = Counter()
        """How many predictions had a field that is not read."""
        self._places: dict[str, Place] = {}
        for number, offset, line in lines(path):
            key = self._key(number, line)
            if key in self._places:
                raise BenchmarkError(
                    f"{path}, line {number}: the id {key!r} is on line {self._places[key].number} too; which of "
                    f"the two is meant is not ours to guess: keep one"
                )
            self._places[key] = Place(number, offset, len(line))
        self._file = open(path, "rb")  # noqa: SIM115  (closed by close)

    def _key(self, number: int, line: bytes) -> str:
        try:
            row: Any = _loads(line)
        except Malformed as error:
            raise BenchmarkError(f"{self.path}, line {number}: {error}; one JSON object a line is needed") from error
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise BenchmarkError(f"{self.path}, line {number}: no object with a string 'id', which names its item")
        return str(row["id"])

    def take(self, key: str) -> PredictionRow | None:
        """The prediction of an id, which is then used up; None if there is none. Raises ``Malformed``."""
        place = self._places.pop(key, None)
        if place is None:
            return None
        if place.length > LONGEST_PREDICTION:
            raise Malformed(f"line {place.number}: {place.length} bytes; a prediction has at most {LONGEST_PREDICTION}")
        self._file.seek(place.offset)
        try:
            row = orjson.loads(self._file.read(place.length))
            prediction = self.model.model_validate(row)
            self.ignored.update(row.keys() - self.model.model_fields.keys())
            return prediction
        except orjson.JSONDecodeError as error:
            raise Malformed(f"line {place.number}: not strict JSON (NaN, Infinity, ...): {error}") from error
        except ValidationError as error:
            raise Malformed(f"line {place.number}: {faults(error)[:400]}") from error

    def refuse_rest(self) -> None:
        """Raise ``BenchmarkError`` if predictions are left that belong to no item."""
        if self._places:
            key, place = next(iter(self._places.items()))
            raise BenchmarkError(
                f"{self.path}, line {place.number}: the id {key!r} is not an item's; {len(self._places)} predictions "
                f"belong to no item. Are these the predictions of another item set?"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _loads(line: bytes) -> Any:
    """JSON, or what laxer readers make of it: enough to learn the id of a line with a NaN, or too deep, in it."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as strict:
        for lax in (line, _shallow(line)):
            try:
                return json.loads(lax.decode(errors="replace"), parse_int=float)  # a float has no limit of digits
            except (ValueError, RecursionError):
                continue
        raise Malformed(f"not JSON ({strict})") from strict


def _shallow(line: bytes) -> bytes:
    """The line with every object and list inside its outermost one emptied."""
    kept, depth = [], 0
    for piece in PIECE.findall(line):
        depth -= piece in (b"]", b"}")
        if depth < 2:
            kept.append(piece)
        depth += piece in (b"[", b"{")
    return b"".join(kept)
