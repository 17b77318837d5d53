"""Whether a picture is whole, told from its frame: linear in its bytes, where decoding is linear in its pixels.

A PNG is whole if its chunks have their CRCs and lead to ``IEND`` (PNG specification, 5.3), a JPEG if its segments and
scans lead to the end mark (ITU-T T.81, annex B), a WebP if its chunks fill the length it states (RFC 9649, 2.3).
"""

from __future__ import annotations

import re
import struct

from isal.isal_zlib import crc32  # as zlib's, twenty times as fast

PNG = b"\x89PNG\r\n\x1a\n"
SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker that is neither a stuffed byte, a fill byte nor a restart: it ends the data of a scan."""
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
MAX_SEGMENTS = 100_000


def exif_of_whole(image: bytes) -> bytes | None:
    """The EXIF block of a whole picture, empty where a PNG has none; None where Pillow finds it by itself.

    Raises ``ValueError`` for a picture that breaks off or is damaged.
    """
    if image.startswith(PNG):
        return _png(image)
    if image.startswith(b"\xff\xd8"):
        _jpeg(image)
    elif image.startswith(b"RIFF"):
        _webp(image)
    return None


def _png(image: bytes) -> bytes:
    at, exif, pixels, view = len(PNG), b"", False, memoryview(image)
    for _ in range(MAX_SEGMENTS):
        if at + 12 > len(image):
            break
        (length,), kind = struct.unpack_from(">I", image, at), image[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(image):
            break
        if crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", image, end - 4)[0]:
            raise ValueError(f"its chunk at byte {at} has a wrong CRC")
        if kind == b"eXIf":
            exif = image[at + 8 : end - 4]
        if kind == b"IEND" and pixels:
            return exif
        pixels = pixels or kind == b"IDAT"
        at = end
    raise ValueError(f"it breaks off after byte {at}")


def _jpeg(image: bytes) -> None:
    at = 2
    for _ in range(MAX_SEGMENTS):
        while image[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 2 > len(image) or image[at] != 0xFF:
            break
        kind = image[at + 1]
        if kind == END_OF_IMAGE:
            return
        if at + 4 > len(image):
            break
        scan = kind == START_OF_SCAN
        at += 2 + struct.unpack_from(">H", image, at + 2)[0]
        if scan:
            found = SCAN_END.search(image, at)
            if found is None:
                break
            at = found.start()
    raise ValueError(f"it breaks off after byte {min(at, len(image))}")


def _webp(image: bytes) -> None:
    if len(image) < 12 or len(image) < 8 + struct.unpack_from("<I", image, 4)[0]:
        raise ValueError(f"it breaks off after byte {len(image)}")
    at, end = 12, 8 + struct.unpack_from("<I", image, 4)[0]
    while at + 8 <= end:
        at += 8 + (length := struct.unpack_from("<I", image, at + 4)[0]) + length % 2
    if at > end + 1:
        raise ValueError("its last chunk breaks off")
