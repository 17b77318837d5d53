"""Writes zip archives byte by byte from the format's description: whole, or split over ``.z01``, ..., ``.zip``."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SPLIT_MARK = b"PK\x07\x08"


def entry(name: str, data: bytes, method: int = 8, **wrong: int) -> tuple[bytes, dict[str, int | bytes]]:
    """A local header with its data, and what the directory says of it; ``wrong`` overrides size, crc, flags."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush() if method == 8 else data
    fields: dict[str, int | bytes] = {
        "name": name.encode(), "method": method, "crc": zlib.crc32(data), "packed": len(packed), "size": len(data),
        "flags": 0x800, **wrong,
    }  # fmt: skip
    head = struct.pack(
        "<4sHHHHHIIIHH", b"PK\x03\x04", 20, fields["flags"], method, 0, 0x21, fields["crc"], fields["packed"],
        fields["size"], len(fields["name"]), 0,  # type: ignore[arg-type]
    )  # fmt: skip
    return head + fields["name"] + packed, fields  # type: ignore[operator]


def central(fields: dict[str, int | bytes], disk: int, offset: int, zip64: bool) -> bytes:
    extra = b""
    size, packed, place = fields["size"], fields["packed"], offset
    if zip64:
        extra = struct.pack("<HHQQQI", 1, 28, size, packed, offset, disk)
        size = packed = place = 0xFFFFFFFF
        disk = 0xFFFF
    name = fields["name"]
    return (
        struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, fields["flags"], fields["method"], 0, 0x21, fields["crc"],
            packed, size, len(name), len(extra), 0, disk, 0, 0, place,  # type: ignore[arg-type]
        )
        + name  # type: ignore[operator]
        + extra
    )  # fmt: skip


def write(
    path: Path,
    files: dict[str, bytes],
    part_bytes: int | None = None,
    entries: list[tuple[bytes, dict[str, int | bytes]]] | None = None,
    zip64: bool = False,
    method: int = 8,
) -> list[Path]:
    """The parts' paths. With ``part_bytes`` the archive is split, even inside members, as `zip -s` splits it."""
    entries = entries or [entry(name, data, method) for name, data in files.items()]
    stream = bytearray(SPLIT_MARK if part_bytes else b"")
    limit = part_bytes or 1 << 62
    directory = []
    for data, fields in entries:
        header = 30 + len(fields["name"])  # type: ignore[arg-type]
        if len(stream) % limit + header > limit:
            stream += bytes(limit - len(stream) % limit)  # a local header is never split
        disk, offset = divmod(len(stream), limit)
        directory.append(central(fields, disk, offset, zip64))
        stream += data
    start_disk, start = divmod(len(stream), limit)
    listing = b"".join(directory)
    stream += listing
    if len(stream) % limit + 98 > limit:
        stream += bytes(limit - len(stream) % limit)  # the end records are never split, either
    end_disk, count = len(stream) // limit, len(entries)
    if zip64:
        end_offset = len(stream) % limit
        stream += struct.pack(
            "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, end_disk, start_disk, count, count, len(listing), start
        )
        stream += struct.pack("<4sIQI", b"PK\x06\x07", end_disk, end_offset, 1 + len(stream) // limit)
        count = min(count, 0xFFFF)
    last = len(stream) // limit
    stream += struct.pack(
        "<4sHHHHIIH", b"PK\x05\x06", last, start_disk, count, count, len(listing), 0xFFFFFFFF if zip64 else start, 0
    )
    parts = [bytes(stream[at : at + limit]) for at in range(0, len(stream), limit)] if part_bytes else [bytes(stream)]
    assert len(parts) == last + 1
    paths = [path.with_suffix(f".z{number:02d}") for number in range(1, len(parts))] + [path]
    for each, data in zip(paths, parts, strict=True):
        each.write_bytes(data)
    return paths
