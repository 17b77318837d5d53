"""TFRecord files without TensorFlow: gzip, then ``length u64, crc u32, payload, crc u32``, all little-endian.

The CRCs are CRC-32C, masked (TensorFlow, tensorflow/core/lib/hash/crc32c.h: rotated right by 15, plus a constant).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tracer.sources.source import SourceError

MAX_RECORD_BYTES = 256 * 2**20
"""Longer than any episode published, and short enough to hold: a length beyond it is damage or a bomb."""
GZIP = b"\x1f\x8b"


class Record(NamedTuple):
    """One record of a TFRecord file."""

    payload: bytes
    intact: bool
    """Whether the payload has the CRC that its frame says."""


def records(path: Path) -> Iterator[Record]:
    """The records of a file, compressed with gzip or not, one in memory at a time.

    A payload with a wrong CRC comes out as not intact: its frame still tells where the next one starts. A damaged
    frame, or a file that is cut off, ends the reading with ``SourceError``, after the records before it.
    """
    # ISA-L unpacks about twice as fast as zlib, and unpacking is what the reading of a shard waits for.
    from isal import igzip, isal_zlib

    damaged: Any = (EOFError, OSError, isal_zlib.IsalError)
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
    try:
        with igzip.open(path, "rb") if compressed else path.open("rb") as stream:
            yield from _records(path, stream)
    except damaged as error:
        raise SourceError(f"{path}: its gzip stream is damaged or cut off ({error}); fetch it again") from error


def _records(path: Path, stream: BinaryIO) -> Iterator[Record]:
    import google_crc32c

    number, fix = 0, "fetch the shard again"
    while header := stream.read(12):
        number += 1
        where = f"{path}, record {number}"
        if len(header) < 12:
            raise SourceError(f"{where}: the file is cut off; {fix}")
        if not _matches(google_crc32c.value(header[:8]), header[8:]):
            raise SourceError(f"{where}: the length has a wrong CRC, so that the next record cannot be found; {fix}")
        (length,) = struct.unpack("<Q", header[:8])
        if length > MAX_RECORD_BYTES:
            raise SourceError(f"{where}: it has {length} bytes, over {MAX_RECORD_BYTES}; {fix}")
        payload, checksum = stream.read(length), stream.read(4)
        if len(payload) < length or len(checksum) < 4:
            raise SourceError(f"{where}: the file is cut off; {fix}")
        yield Record(payload, _matches(google_crc32c.value(payload), checksum))
    if number == 0:
        raise SourceError(f"{path} contains no record; {fix}")


def _matches(crc: int, stored: bytes) -> bool:
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return masked == int.from_bytes(stored, "little")
