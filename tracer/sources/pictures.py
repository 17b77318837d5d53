"""Whether a picture is whole, told without its pixels: nearly linear in its bytes, where decoding is linear in pixels.

A PNG is whole if its chunks have their CRCs and lead to ``IEND`` (PNG specification, 5.3), and if its data inflates to
as many lines as its header states, each of a known filter (7.2, 9.2). Deflate gives at most 1,032 bytes for one. A JPEG
is whole if its segments and scans lead to the end mark (ITU-T T.81, annex B); its decoders do not tell how much of a
scan is missing, either. A WebP is whole if its chunks fill the length it states (RFC 9649, 2.3).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any, cast
from zlib import compress

from isal.isal_zlib import IsalError, crc32, decompressobj  # as zlib's, several times as fast

PNG = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of a PNG's colour types."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Where each pass of an interlaced PNG begins, and its steps, across and down."""
LAST_FILTER = 4
FED, INFLATED = 2**16, 2**20
"""Bytes that are inflated at once, and that come of it at once."""
ANIMATED = (b"acTL", b"fcTL", b"fdAT")
SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker that is neither a stuffed byte, a fill byte nor a restart: it ends the data of a scan."""
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
MAX_SEGMENTS = 100_000


def frame(image: bytes) -> bytes:
    """A whole picture without its pixels: a PNG of one, a JPEG whose scans are empty; another format as it is.

    What a decoder refuses in a picture, apart from its pixels, it refuses in its frame too, which takes no time. Raises
    ``ValueError`` for a picture that breaks off or is damaged.
    """
    if image.startswith(PNG):
        return _png(image)
    if image.startswith(b"\xff\xd8"):
        return _jpeg(image)
    if image.startswith(b"RIFF"):
        _webp(image)
    return image


def _png(image: bytes) -> bytes:
    at, view = len(PNG), memoryview(image)
    header, data, around, last = b"", list[memoryview](), [PNG], b""
    for _ in range(MAX_SEGMENTS):
        if at + 12 > len(image):
            break
        (length,), kind = struct.unpack_from(">I", image, at), image[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(image):
            break
        if crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", image, end - 4)[0]:
            raise ValueError(f"its chunk at byte {at} has a wrong CRC")
        if (kind == b"IHDR") != (not header):
            raise ValueError(f"its chunk at byte {at} is out of order")
        if kind == b"IHDR":
            header = image[at + 8 : end - 4]
            around.append(_chunk(kind, struct.pack(">II", 1, 1) + header[8:12] + b"\0"))
        elif kind == b"IDAT":
            if data and last != kind:
                break  # what comes after other chunks no decoder reads
            around += [] if data else [PIXEL]
            data.append(view[at + 8 : end - 4])
        elif kind not in ANIMATED:
            around.append(image[at:end])
        if kind == b"IEND" and data:
            _inflate(header, data)
            return b"".join(around)
        at, last = end, kind
    raise ValueError(f"it breaks off after byte {at}")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))


PIXEL = _chunk(b"IDAT", compress(bytes(9)))
"""The data of a PNG of one pixel, of any colour type."""


def _lines(header: bytes) -> Iterator[tuple[int, int]]:
    """The lines of a PNG's data, pass by pass: how many, and the bytes of each with its filter's."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", header)
    for left, top, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            yield rows, 1 + (columns * depth * CHANNELS[colour] + 7) // 8


def _inflate(header: bytes, data: list[memoryview]) -> None:
    """Raise ``ValueError`` unless a PNG's data holds all its lines."""
    fed = (part[start : start + FED] for part in data for start in range(0, len(part), FED))
    unpacking, damaged = decompressobj(), cast(Any, IsalError)  # whose stubs take it for no exception
    try:
        for rows, line in _lines(header):
            left, filter = rows * line, 0
            while left:
                given = unpacking.unconsumed_tail or next(fed, b"")
                found = unpacking.decompress(given, min(left, INFLATED))
                if not found and not given:
                    raise ValueError(f"its data ends {left} bytes early")
                if max(found[filter::line], default=0) > LAST_FILTER:
                    raise ValueError("a line of it has an unknown filter")
                left, filter = left - len(found), (filter - len(found)) % line
        found = b""
        while not (unpacking.eof or found):  # more than its lines is ignored, and only the end has the checksum
            given = unpacking.unconsumed_tail or next(fed, b"")
            found = unpacking.decompress(given, 1)
            if not found and not given and not unpacking.eof:
                raise ValueError("its data has no end")
    except damaged as error:
        raise ValueError(f"its data does not inflate: {error}") from error


def _jpeg(image: bytes) -> bytes:
    at, start, around = 2, 0, list[bytes]()
    for _ in range(MAX_SEGMENTS):
        while image[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 2 > len(image) or image[at] != 0xFF:
            break
        kind = image[at + 1]
        if kind == END_OF_IMAGE:
            return b"".join([*around, image[start : at + 2]])
        if at + 4 > len(image):
            break
        scan = kind == START_OF_SCAN
        at += 2 + struct.unpack_from(">H", image, at + 2)[0]
        if scan:
            found = SCAN_END.search(image, at)
            if found is None:
                break
            around.append(image[start:at])
            at = start = found.start()
    raise ValueError(f"it breaks off after byte {min(at, len(image))}")


def _webp(image: bytes) -> None:
    if len(image) < 12 or len(image) < 8 + struct.unpack_from("<I", image, 4)[0]:
        raise ValueError(f"it breaks off after byte {len(image)}")
    at, end = 12, 8 + struct.unpack_from("<I", image, 4)[0]
    while at + 8 <= end:
        at += 8 + (length := struct.unpack_from("<I", image, at + 4)[0]) + length % 2
    if at > end + 1:
        raise ValueError("its last chunk breaks off")
