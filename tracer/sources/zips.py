"""Zip archives as data sets publish them: in one piece, split over ``x.z01``, ... and ``x.zip``, or cut by bytes.

The parts are read where they are, as one long file; nothing is joined or extracted, so that no member's name can
lead anywhere on disk. Format: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from isal.isal_zlib import crc32

from tracer.sources.source import MAX_IMAGE_BYTES, Refused, SourceError, checked_name

END = b"PK\x05\x06"
END64_LOCATOR = b"PK\x06\x07"
END64 = b"PK\x06\x06"
ENTRY = b"PK\x01\x02"
LOCAL = b"PK\x03\x04"
STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x1, 0x800
UNICODE_PATH = 0x7075  # Info-ZIP's extra field: version, CRC of the name, the name in UTF-8
TAIL_BYTES = 65_557  # the end record and the longest comment behind it


class Member(NamedTuple):
    """Where a file is in the archive."""

    offset: int
    """Of its local header, in all parts together."""
    packed: int
    size: int
    crc: int
    method: int
    flags: int


class Parts:
    """The parts of a split archive as one file to read from."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.starts = [0]
        for path in paths:
            self.starts.append(self.starts[-1] + path.stat().st_size)
        self._files: dict[int, BinaryIO] = {}

    @property
    def size(self) -> int:
        """The bytes of all parts together."""
        return self.starts[-1]

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes, over the parts' borders; fewer at the end."""
        found = []
        while length > 0 and 0 <= offset < self.size:
            part = bisect_right(self.starts, offset) - 1
            if part not in self._files:
                self._files[part] = self.paths[part].open("rb")
            file = self._files[part]
            file.seek(offset - self.starts[part])
            data = file.read(min(length, self.starts[part + 1] - offset))
            if not data:
                break
            found.append(data)
            offset, length = offset + len(data), length - len(data)
        return found[0] if len(found) == 1 else b"".join(found)


class Zip:
    """A zip archive, whole or in parts, read member by member.

    ``path`` is the last part, beside which the others lie; ``pieces`` names all of an archive that was cut by bytes.
    Raises ``SourceError`` for an archive that cannot be read: a missing part, a cut or damaged directory.
    """

    def __init__(self, path: Path, pieces: Sequence[Path] = ()) -> None:
        self.path = path
        if not path.is_file():
            raise SourceError(f"{path} does not exist; fetch the archive again")
        numbered = () if pieces else path.parent.glob(f"{path.stem}.z[0-9]*")
        earlier = sorted(
            (part for part in numbered if part.suffix[2:].isdecimal()), key=lambda part: int(part.suffix[2:])
        )
        self._check_numbers(earlier)
        self._parts = Parts([*pieces] or [*earlier, path])
        self._disks = 1 if pieces else len(self._parts.paths)  # an archive that was cut by bytes knows of no parts
        self.members = self._directory()

    def _check_numbers(self, earlier: list[Path]) -> None:
        numbers = {int(part.suffix[2:]) for part in earlier}
        gaps = sorted(set(range(1, max(numbers, default=0) + 1)) - numbers)
        if gaps:
            missing = ", ".join(f"{self.path.stem}.z{number:02d}" for number in gaps)
            raise SourceError(f"{self.path} is split, and {missing} is missing beside it; fetch the missing part")

    def _directory(self) -> dict[str, Member]:
        parts = self._parts
        tail = parts.read(max(0, parts.size - TAIL_BYTES), TAIL_BYTES)
        at = tail.rfind(END)
        if at < 0 or len(tail) < at + 22:
            raise self._damaged("it has no end record: it is cut off, or no zip archive")
        disk, first_disk, _, count, length, offset = struct.unpack_from("<HHHHII", tail, at + 4)
        if at >= 20 and tail[at - 20 : at - 16] == END64_LOCATOR:
            end_disk, end_offset, disks = struct.unpack_from("<IQI", tail, at - 16)
            self._check_disks(disks)
            end = parts.read(self._start(end_disk) + end_offset, 56)
            if end[:4] != END64 or len(end) < 56:
                raise self._damaged("its zip64 end record is not where the locator says")
            first_disk, _, count, length, offset = struct.unpack_from("<IQQQQ", end, 20)
        else:
            self._check_disks(disk + 1)
        start = self._start(first_disk) + offset
        if start + length > parts.size:
            raise self._damaged("its directory is cut off")
        return self._entries(parts.read(start, length), count)

    def _start(self, disk: int) -> int:
        if disk >= self._disks:
            raise self._damaged(f"it points into part {disk + 1} of {self._disks}")
        return self._parts.starts[disk]

    def _check_disks(self, expected: int) -> None:
        if expected != self._disks:
            names = f"{self.path.stem}.z01 to .z{expected - 1:02d} and {self.path.name}"
            raise SourceError(f"{self.path} consists of {expected} parts, {self._disks} are here; fetch {names}")

    def _damaged(self, why: str) -> SourceError:
        return SourceError(f"{self.path} is damaged: {why}; fetch it again")

    def _entries(self, directory: bytes, count: int) -> dict[str, Member]:
        members: dict[str, Member] = {}
        at = 0
        for _ in range(count):
            if directory[at : at + 4] != ENTRY or len(directory) < at + 46:
                raise self._damaged(f"its directory breaks off after {len(members)} of {count} entries")
            flags, method = struct.unpack_from("<HH", directory, at + 8)
            crc, packed, size, names, extras, comments = struct.unpack_from("<IIIHHH", directory, at + 16)
            disk, _, _, offset = struct.unpack_from("<HHII", directory, at + 34)
            raw = directory[at + 46 : at + 46 + names]
            extra = directory[at + 46 + names : at + 46 + names + extras]
            size, packed, offset, disk = _zip64(extra, size, packed, offset, disk)
            at += 46 + names + extras + comments
            # Some Windows programs write the backslash that the format forbids; "./" goes as well.
            written = _name(raw, flags, extra).replace("\\", "/")
            if written.endswith("/"):
                continue
            name = str(PurePosixPath(written))
            if name in members:
                raise self._damaged(f"it holds {name!r} twice")
            members[name] = Member(self._start(disk) + offset, packed, size, crc, method, flags)
        return members

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """A member's content, its CRC checked; raises ``Refused``."""
        name = checked_name(name)
        if name not in self.members:
            raise Refused("missing file", f"{self.path.name} has no {name!r}", "add it, or drop what names it")
        member = self.members[name]
        if member.flags & ENCRYPTED:
            raise Refused("encrypted file", f"{name!r} in {self.path.name} is encrypted", "decrypt the archive first")
        if max(member.size, member.packed) > limit:
            size = max(member.size, member.packed)
            raise Refused("file too large", f"{name!r} in {self.path.name} has {size} bytes, over {limit}", "shrink it")
        data = self._unpacked(name, member)
        if len(data) != member.size or crc32(data) != member.crc:
            detail = f"{name!r} in {self.path.name} does not have the size and CRC that the archive says"
            raise Refused("damaged file", detail, "fetch the archive again")
        return data

    def _unpacked(self, name: str, member: Member) -> bytes:
        fix = "fetch the archive again"
        header = self._parts.read(member.offset, 30)
        if header[:4] != LOCAL or len(header) < 30:
            raise Refused("damaged file", f"{name!r} is not where {self.path.name}'s directory says", fix)
        names, extras = struct.unpack_from("<HH", header, 26)
        packed = self._parts.read(member.offset + 30 + names + extras, member.packed)
        if member.method == STORED:
            return packed
        if member.method != DEFLATED:
            raise Refused("unknown compression", f"{name!r} uses method {member.method}", "pack it with deflate")
        try:
            # One byte over the promised size shows a bomb without unpacking it.
            return zlib.decompressobj(-15).decompress(packed, member.size + 1)
        except zlib.error as error:
            raise Refused("damaged file", f"{name!r} in {self.path.name}: {error}", fix) from error


def _extras(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """The kind and content of each extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _name(raw: bytes, flags: int, extra: bytes) -> str:
    """A member's name: UTF-8 where the archive says so, and where it does not but the bytes are; else code page 437."""
    for kind, field in _extras(extra):
        if kind == UNICODE_PATH and field[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return field[5:].decode("utf-8", "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8" if flags & UTF8 else "cp437", "replace")


def _zip64(extra: bytes, size: int, packed: int, offset: int, disk: int) -> tuple[int, int, int, int]:
    """The four values, those that overflow 32 bits (disk: 16) taken from the zip64 extra field."""
    for kind, field in _extras(extra):
        if kind == 1:
            values, place = [size, packed, offset], 0
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF and place + 8 <= len(field):
                    (values[index],) = struct.unpack_from("<Q", field, place)
                    place += 8
            if disk == 0xFFFF and place + 4 <= len(field):
                (disk,) = struct.unpack_from("<I", field, place)
            return values[0], values[1], values[2], disk
    return size, packed, offset, disk


def is_whole(path: Path) -> bool:
    """Whether a file ends as a zip archive does; one that was cut by bytes does so in its last piece only."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return END in file.read()
