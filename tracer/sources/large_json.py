"""Large files of JSON, read in pieces: lines of a byte range, and the elements of one long array."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tracer.sources.source import Refused, SourceError

PART_BYTES = 32 * 2**20
MAX_LINE_BYTES = 64 * 2**20
CHUNK = 2**20
WHITESPACE = " \t\r\n"
SOMETHING = re.compile(rf"[^{WHITESPACE}]")
TOKEN = re.compile(r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*("|\\?\Z)', re.DOTALL)
LONGEST_INTEGER = 4000  # digits; Python itself stops at 4300


class Element(NamedTuple):
    """One element of a long array."""

    raw: str
    """As it is written; a byte that is not UTF-8 is a lone surrogate."""
    value: Any
    """What it says; ``Refused`` where it is nested too deeply to be read."""

    def encoded(self) -> bytes:
        """As it is written, in bytes."""
        return self.raw.encode("utf-8", "surrogateescape")

    def record(self) -> Any:
        """What it says; raises ``Refused``."""
        if isinstance(self.value, Refused):
            raise self.value
        return self.value


class Line(NamedTuple):
    """One line of a large file."""

    first: int
    """The offset of the first line of its range."""
    number: int
    """Which line of its range it is, from 1, blank ones included."""
    data: bytes


def ranges(file: Path, part_bytes: int = PART_BYTES) -> int:
    """Into how many byte ranges a file is divided; raises ``SourceError`` for an empty file."""
    size = file.stat().st_size
    if size == 0:
        raise SourceError(f"{file} is empty; fetch it again")
    return -(-size // part_bytes)


def lines(file: Path, number: int | None = None, part_bytes: int = PART_BYTES) -> Iterator[Line]:
    """The lines that begin in range ``number``, or all; blank ones and a byte-order mark are left out.

    A line over ``MAX_LINE_BYTES`` comes out cut at that length.
    """
    with file.open("rb") as stream:
        start = 0 if number is None else number * part_bytes
        end = file.stat().st_size if number is None else start + part_bytes
        if start:
            # The line that holds the byte before the range belongs to the range before.
            stream.seek(start - 1)
            while (data := stream.readline(CHUNK)) and not data.endswith(b"\n"):
                pass
        elif stream.read(len(BOM_UTF8)) != BOM_UTF8:
            stream.seek(0)
        start = stream.tell()
        first, number = start, 0
        while start < end and (data := stream.readline(MAX_LINE_BYTES)):
            number += 1
            line = Line(first, number, data)
            start += len(data)
            while not data.endswith(b"\n") and (data := stream.readline(CHUNK)):
                start += len(data)
            if len(line.data) == MAX_LINE_BYTES or not line.data.isspace():
                yield line


def row_of(file: Path, line: Line) -> int:
    """The number of a line in its file, from 1. Counted on demand: only quarantined lines need it."""
    return _lines_before(file, line.first) + line.number


@lru_cache(maxsize=64)
def _lines_before(file: Path, offset: int) -> int:
    count, left = 0, offset
    with file.open("rb") as stream:
        while left and (data := stream.read(min(left, CHUNK))):
            count, left = count + data.count(b"\n"), left - len(data)
    return count


def array(file: Path) -> Iterator[Element]:
    """The elements of a JSON array, one in memory at a time; raises ``SourceError`` where the text is damaged.

    The elements before the damage come out first. Integers of thousands of digits come out as floats.
    """
    decoder = json.JSONDecoder(parse_int=_integer)
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        text, at, row = _Text(stream.read), 0, 0
        if text.next_character(0) != "[":
            raise SourceError(f"{file} is not a JSON array (it begins {text.data[:20]!r}); fetch it again")
        at = text.cut(text.place + 1)
        while (found := text.next_character(at)) != "]":
            if row and found != ",":
                raise SourceError(f"{file}: the array breaks off after {row} elements; fetch it again")
            at = text.cut(text.place + (1 if row else 0))
            text.next_character(at)
            row += 1
            yield text.value(decoder, file, row)
            at = text.place
        if text.next_character(text.place + 1):
            raise SourceError(f"{file} goes on after the array's end; fetch it again")


def _integer(text: str) -> int | float:
    """An integer; Python refuses one of thousands of digits, for which the file would end."""
    return int(text) if len(text) < LONGEST_INTEGER else float(text)


class _Text:
    """A text that is read as far as it is needed."""

    def __init__(self, read: Any) -> None:
        self._read = read
        self.data = ""
        self.place = 0

    def more(self) -> bool:
        chunk = self._read(max(CHUNK, len(self.data)))  # doubling, so that one long element costs linear time
        self.data += chunk
        return bool(chunk)

    def cut(self, at: int) -> int:
        """Forget what lies before ``at``, once it is worth it; the new place of ``at``."""
        if at > CHUNK:
            self.data, at = self.data[at:], 0
        return at

    def next_character(self, at: int) -> str:
        """The next character that is not a white space, from ``at`` on, its place in ``place``; "" at the end."""
        while True:
            while at < len(self.data) and self.data[at] in WHITESPACE:
                at += 1
            if at < len(self.data) or not self.more():
                self.place = at
                return self.data[at : at + 1]

    def value(self, decoder: json.JSONDecoder, file: Path, row: int) -> Element:
        """The value at ``place``, which moves behind it."""
        start = self.place
        while True:
            try:
                found, end = decoder.raw_decode(self.data, start)
            except RecursionError:
                found, end = Refused("nested too deeply", f"element {row}", "leave it out"), self._end_of(start)
            except json.JSONDecodeError as error:
                if len(self.data) - start > MAX_LINE_BYTES or not self.more():
                    raise SourceError(f"{file}, element {row}: {str(error)[:200]}; fetch it again") from error
                continue
            # A number that ends where the reading did might go on: 0 is the beginning of 0.5.
            behind = SOMETHING.search(self.data, end)
            if (behind is not None and behind[0] in ",]") or not self.more():
                self.place = end
                return Element(self.data[start:end], found)

    def _end_of(self, start: int) -> int:
        """Where the object or array at ``start`` ends, however deep it is."""
        while True:
            depth = 0
            for token in TOKEN.finditer(self.data, start):
                if token[1] in ("", "\\"):
                    break  # a text that goes on
                depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
                if depth == 0:
                    return token.end()
            if len(self.data) - start > MAX_LINE_BYTES or not self.more():
                return len(self.data)  # it breaks off, which the caller finds next
