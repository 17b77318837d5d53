"""Pictures: what is accepted at ingestion decodes in validation, which is told without decoding it."""

import io
import random
import struct
import time
import zlib
from typing import Any

import pytest
from PIL import Image

from tracer.sources import pictures
from tracer.sources.source import MAX_SHARED, MAX_SIDE, WEBP_PIXELS_A_BYTE, Refused, picture_size

PNG = pictures.PNG
NOISE = Image.effect_noise((61, 45), 90).convert("RGB")
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunks(image: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(image):
        (length,) = struct.unpack_from(">I", image, at)
        found.append((image[at + 4 : at + 8], image[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png(*parts: tuple[bytes, bytes]) -> bytes:
    return PNG + b"".join(chunk(*each) for each in parts)


def interlaced(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 1)
    lines = b"".join(bytes(rows * line) for rows, line in pictures._lines(header))
    return png((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))


def accepted(image: bytes, **options: Any) -> bool:
    try:
        picture_size(image, "it", **options)
    except Refused:
        return False
    return True


def mode(name: str) -> Image.Image:
    return Image.new(name, NOISE.size) if name == "I;16" else NOISE.convert(name)


WHOLE = {
    **{f"PNG {name}": saved(mode(name), "PNG") for name in MODES},
    "PNG of several pieces": saved(NOISE.resize((300, 300)), "PNG"),
    "PNG interlaced": interlaced(13, 7),
    "PNG interlaced, narrow": interlaced(1, 3, 4, 3) and interlaced(3, 1, 16, 6),
    "JPEG": saved(NOISE, "JPEG"),
    "JPEG progressive": saved(NOISE, "JPEG", progressive=True),
    "JPEG CMYK": saved(NOISE.convert("CMYK"), "JPEG"),
    "JPEG grey, with restarts": saved(NOISE.convert("L"), "JPEG", restart_marker_blocks=2),
    "JPEG with a preview": saved(NOISE, "MPO", save_all=True, append_images=[NOISE]),
    "WEBP": saved(NOISE, "WEBP"),
    "WEBP lossless": saved(NOISE.convert("RGBA"), "WEBP", lossless=True),
}


PARTS = chunks(WHOLE["PNG RGB"])
HEADER, DATA = PARTS[0][1], PARTS[1][1]
LINES = zlib.decompress(DATA)


def with_header(**fields: int) -> bytes:
    names = ("width", "height", "depth", "colour", "compression", "filter", "interlaced")
    values = dict(zip(names, struct.unpack(">IIBBBBB", HEADER), strict=True)) | fields
    return png((b"IHDR", struct.pack(">IIBBBBB", *values.values())), *PARTS[1:])


def with_data(data: bytes) -> bytes:
    return png(PARTS[0], (b"IDAT", data), PARTS[-1])


BROKEN = {
    "data cut": with_data(DATA[: len(DATA) // 2]),
    "data cut by its last line": with_data(zlib.compress(LINES[:-1])),
    "data without its checksum": with_data(DATA[:-4]),
    "data with another checksum": with_data(DATA[:-4] + b"1234"),
    "no data": with_data(b""),
    "an empty stream": with_data(zlib.compress(b"")),
    "no stream": with_data(b"\0" * 50),
    "a line of an unknown filter": with_data(zlib.compress(LINES[: 184 * 3] + b"\x07" + LINES[184 * 3 + 1 :])),
    "the first line of one": with_data(zlib.compress(b"\x05" + LINES[1:])),
    "a higher picture stated": with_header(height=46),
    "a wider one": with_header(width=62),
    "a deeper one": with_header(depth=16),
    "more channels": with_header(colour=6),
    "no width": with_header(width=0),
    "no height": with_header(height=0),
    "interlaced, cut": png(*chunks(interlaced(13, 7))[:1], (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")),
    "data on both sides of a text": png(
        PARTS[0], (b"IDAT", DATA[:500]), (b"tEXt", b"a\0b"), (b"IDAT", DATA[500:]), (b"IEND", b"")
    ),
    "two headers": png(PARTS[0], *PARTS),
    "a text that inflates to 10 MB behind the data": png(
        *PARTS[:-1], (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7))), (b"IEND", b"")
    ),
    "a short size behind the data": png(*PARTS[:-1], (b"pHYs", b"12"), (b"IEND", b"")),
    "an empty colour profile behind the data": png(*PARTS[:-1], (b"iCCP", b""), (b"IEND", b"")),
    "a side too long": saved(Image.new("1", (MAX_SIDE + 1, 1)), "PNG"),
}


def segments(image: bytes, without: int) -> bytes:
    """A JPEG without its segments of a kind."""
    at, found = 2, image[:2]
    while image[at + 1] != 0xDA:
        end = at + 2 + struct.unpack_from(">H", image, at + 2)[0]
        found += b"" if image[at + 1] == without else image[at:end]
        at = end
    return found + image[at:]


WHOLE["JPEG with the usual Huffman tables"] = segments(WHOLE["JPEG"], 0xC4)
BROKEN |= {
    "JPEG without quantisation": segments(WHOLE["JPEG"], 0xDB),
    "JPEG without a frame": segments(WHOLE["JPEG"], 0xC0),
    "JPEG without scans": WHOLE["JPEG"][: WHOLE["JPEG"].index(b"\xff\xda")] + b"\xff\xd9",
}
WEBP = WHOLE["WEBP"]


def webp(data: bytes, kind: bytes = b"VP8 ") -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


BROKEN |= {f"WEBP cut to {part}": webp(WEBP[20:][: int(part * len(WEBP))]) for part in (0.1, 0.5, 0.9)}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_picture_is_accepted(name: str) -> None:
    assert accepted(WHOLE[name]) and accepted(WHOLE[name], decode=True)


@pytest.mark.parametrize("name", BROKEN)
def test_a_picture_that_would_not_decode_is_refused_at_ingestion(name: str) -> None:
    assert not accepted(BROKEN[name])
    if name not in ("two headers", "data without its checksum", "data with another checksum"):  # as Pillow is lenient
        assert not accepted(BROKEN[name], decode=True)


def test_what_lies_behind_the_end_is_no_part_of_a_picture() -> None:
    for name in ("PNG RGB", "JPEG", "WEBP"):
        assert accepted(WHOLE[name] + b"trailing" * 99) and accepted(WHOLE[name] + b"trailing" * 99, decode=True)


def test_pillow_sees_the_frame_that_screenshots_of_one_device_share_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Image.open
    frames = []
    monkeypatch.setattr(
        Image, "open", lambda file, **options: frames.append(file.getvalue()) or opened(file, **options)
    )
    turned, large = Image.Exif(), Image.Exif()
    turned[0x0112], large[0x0112], large[0x010E] = 6, 1, "x" * MAX_SHARED
    for size in (30, 40, 50):
        image = NOISE.resize((size, size))
        assert accepted(saved(image, "PNG"))
        assert accepted(saved(image, "PNG", exif=large))
        assert not accepted(saved(image, "PNG", exif=turned))  # also where its frame is known
    one = [frame for frame in frames if frame[16:24] == struct.pack(">II", 1, 1)]
    assert [one.count(frame) for frame in set(one)].count(3) == 1  # the large one, which is not kept
    assert len(one) <= 2 + 3


@pytest.mark.parametrize("count", [1_500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_a_damaged_picture_that_is_accepted_decodes(count: int) -> None:
    rng = random.Random(1)
    names = [name for name in WHOLE if name != "PNG of several pieces"]
    found = {True: 0, False: 0}
    for _ in range(count):
        image = damaged(rng, WHOLE[rng.choice(names)])
        whole = accepted(image)
        found[whole] += 1
        assert not whole or accepted(image, decode=True) or sparse(image), image.hex()
    assert min(found.values()) > count / 20


def sparse(image: bytes) -> bool:
    """Whether it is a WebP of more pixels than are decoded at ingestion."""
    width, height = picture_size(image, "it")
    return image.startswith(b"RIFF") and width * height > WEBP_PIXELS_A_BYTE * len(image)


def damaged(rng: random.Random, image: bytes) -> bytes:
    """A picture with bytes changed, cut out or repeated; of a PNG, also inside chunks whose CRCs are right again."""
    if image.startswith(PNG) and rng.random() < 0.8:
        parts = chunks(image)
        index = rng.randrange(len(parts))
        kind, data = parts[index]
        if kind == b"IDAT" and rng.random() < 0.5:
            data = zlib.compress(_damaged(rng, zlib.decompress(data)))
        else:
            data = _damaged(rng, data)
        parts[index] = kind, data
        if rng.random() < 0.2:
            parts.insert(rng.randrange(len(parts) + 1), parts[rng.randrange(len(parts))])
        return png(*parts)
    return _damaged(rng, image)


def _damaged(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.randint(1, 3)):
        at, length = rng.randint(0, len(data)), rng.choice([0, 1, 2, 50])
        new = rng.choice([b"", b"\0", b"\xff", bytes([rng.randrange(256)]), data[at : at + 20]])
        data = data[:at] + new + data[at + length :]
    return data


@pytest.mark.parametrize("colour", [0, 6])
def test_a_picture_of_few_bytes_takes_little_time(colour: int) -> None:
    """The most that a megabyte can be inflated to."""
    side = 8_000
    header = struct.pack(">IIBBBBB", side, side, 16, colour, 0, 0, 0)
    lines = zlib.compressobj(9)
    data = (
        b"".join(lines.compress(bytes(1 + side * 2 * pictures.CHANNELS[colour])) for _ in range(side)) + lines.flush()
    )
    image = png((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    begun = time.process_time()
    assert picture_size(image, "it") == (side, side)
    assert time.process_time() - begun < 2 * max(len(image) / 2**20, 0.1)
