"""What a source is: it reads a published data set, or a folder of recordings, into trajectories.

An adapter never repairs and never drops silently: what it cannot read comes out as ``Rejected``, in its place among
the trajectories, with the file, the row, the reason and the fix.
"""

from __future__ import annotations

import io
import warnings
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar, cast

import orjson

from tracer import plugins
from tracer.settings import ConfigError
from tracer.sources import pictures
from tracer.trajectory import Box, Trajectory

Named = TypeVar("Named")

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP")
MAX_IMAGE_BYTES = 64 * 2**20
MAX_IMAGE_PIXELS = 64_000_000
MAX_PAGE_PIXELS = 128_000_000
"""Of a picture of a whole page; Mind2Web publishes 1280 x 60,000 and more."""
MAX_SIDE = 131_072
"""Of a picture, in pixels; a page can be 60,000 high."""
WEBP_PIXELS_A_BYTE, JPEG_PIXELS_A_BYTE = 200, 512
"""Up to which a WebP is decoded to see whether it is whole, as a few bytes can stand for millions of pixels; and the
most that a JPEG can have, as each of its blocks of 64 takes a bit at least."""
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 1024
"""Of one part of a path, which is what file systems allow, and of all of it."""
MAX_SHARED = 2**14
"""Bytes of a frame that is kept: the screenshots of one device share theirs."""
ORIENTATION, TURNED = 0x0112, range(2, 9)  # of EXIF; 1 is upright


class SourceError(ValueError):
    """A source that cannot be read at all; the message names the path and the fix."""


class OptionError(SourceError, ConfigError):
    """An option that the source does not have, or a value that is none of it."""


class Refused(ValueError):
    """Raised inside an adapter for one record it cannot read; it becomes a ``Rejected``.

    ``reason`` is one of few, and counted (``unknown action``); ``detail`` says what and where; ``fix`` what to do.
    """

    def __init__(self, reason: str, detail: str, fix: str) -> None:
        super().__init__(f"{reason}: {detail}; {fix}")
        self.reason, self.detail, self.fix = reason, detail, fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """One record that was not ingested, and why. It becomes a row of ``quarantine.parquet``."""

    source: str
    file: str
    """The file, relative to the source's path."""
    row: int
    """The line, record or row number in the file, from 1."""
    reason: str
    detail: str
    fix: str
    id: str = ""
    """The trajectory's id, where it could be read."""
    raw: str = ""
    """The beginning of the record as it was found; the file and the row lead to the rest."""
    steps: int = 0
    """The steps that were lost with it, where they could be counted."""

    def __post_init__(self) -> None:
        # A text that is not Unicode is why a record is rejected; the quarantine itself has to hold it.
        for name in ("source", "file", "reason", "detail", "fix", "id", "raw"):
            text = getattr(self, name)
            if not text.isascii():
                object.__setattr__(self, name, text.encode("utf-8", "backslashreplace").decode())

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason}: {self.detail}; {self.fix}"


class Source(Protocol):
    """An adapter: a module, registered as an entry point of the group ``tracer.sources``.

    ``read`` is all that a source needs. Two more names are optional. ``parts(path) -> list[str]`` names the parts of a
    large data set (each name can name a folder); ``read`` then also takes ``part``, one of them, and parts are ingested
    side by side. ``PUBLISHED``, such as ``{"trajectories": 20_000}``, holds the published counts, which ``stats.json``
    shows beside ours.
    """

    def read(self, path: Path, **options: Any) -> Iterator[Trajectory | Rejected]:
        """Every record under ``path``, in one fixed order, as a trajectory or as what was rejected.

        Further keyword arguments are the source's options (``--option KEY=VALUE``). Streams: memory does not grow with
        the data set. Raises ``SourceError`` if there is nothing to read; one unreadable record is a ``Rejected``, as
        ``Origin.read`` of tracer/sources/boundary.py gives it.
        """


def source(name: str) -> Source:
    """The adapter of that name; raises ``PluginError``."""
    return cast(Source, plugins.load(plugins.SOURCES, name))


def checked_name(name: str) -> str:
    """A file name inside an archive or folder, without ``./``, unless it leads out of it; raises ``Refused``."""
    path = PurePosixPath(name)
    lengths = [len(part.encode("utf-8", "replace")) for part in path.parts]
    if max(lengths, default=0) > MAX_NAME_BYTES or sum(lengths) > MAX_PATH_BYTES:
        raise Refused("unsafe file name", f"{name[:80]!r}... is longer than file systems allow", "shorten it")
    if not name or "\0" in name or "\\" in name or ":" in name or path.is_absolute() or ".." in path.parts:
        detail = f"{name[:200]!r} is empty, absolute or climbs out of its folder"
        raise Refused("unsafe file name", detail, "name the file relative to its archive or folder")
    return str(path)


def once(read: Callable[[str], Named]) -> Callable[[str], Named]:
    """A reader of files that a record names, which reads each once: many steps that name one would hold many copies."""
    kept = cache(read)
    return lambda name: kept(checked_name(name))


def read_inside(folder: Path, name: str) -> bytes:
    """A file of a folder; raises ``Refused`` for a link that leads out of it, for a pipe, and for a file too large."""
    path = folder / name
    if not path.is_file():
        raise Refused("missing file", f"{name!r} is no file, or a link to none", "copy the file there")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Refused("unsafe file name", f"{name!r} links out of {folder.name}", "copy the file there")
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise Refused("file too large", f"{name!r} has {path.stat().st_size} bytes", "shrink it")
    return path.read_bytes()


def json_object(text: Any, name: str, fix: str, *, reason: str = "broken JSON") -> dict[str, Any]:
    """The object that a text contains; raises ``Refused``."""
    try:
        found = orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError) as error:
        raise Refused(reason, f"{name}: {error}", fix) from error
    if not isinstance(found, dict):
        raise Refused(reason, f"{name} is not an object: {str(found)[:80]!r}", fix)
    return found


def said(*texts: Any) -> str:
    """The first of some texts that says something; empty where none does."""
    for text in texts:
        if isinstance(text, str) and text.strip():
            return text
    return ""


def turn(message: Any, fix: str) -> tuple[str, str]:
    """The role and text of one message of a conversation; raises ``Refused``."""
    role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise Refused("wrong field", f"a turn is {str(message)[:80]!r}", fix)
    return role, content


def on_screen(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> Box | None:
    """The part of a box in pixels that is on the screen, in fractions; None where nothing is."""
    width, height = size
    left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
    return (left / width, top / height, right / width, bottom / height) if left < right and top < bottom else None


def split_lists(path: Path, kind: type) -> dict[str, list[Any]]:
    """The official splits of a data set, a JSON object of lists of one kind; raises ``SourceError``."""
    if not path.is_file():
        raise SourceError(f"{path} does not exist: the official splits are needed; fetch it from where the data is")
    try:
        lists = orjson.loads(path.read_bytes().removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{path} is not valid JSON: {error}; fetch it again") from error
    if not isinstance(lists, dict) or not all(isinstance(ids, list) for ids in lists.values()):
        raise SourceError(f"{path} is not an object of lists; fetch it again")
    foreign = [id for ids in lists.values() for id in ids if type(id) is not kind]
    if foreign:
        raise SourceError(f"{path} lists {str(foreign[0])[:80]!r}, which is no {kind.__name__}; fetch it again")
    return lists


def screen(image: bytes, name: str, limit: int = MAX_IMAGE_PIXELS) -> dict[str, Any]:
    """The fields of a ``Step`` that its picture gives: image, width and height; raises ``Refused``."""
    width, height = picture_size(image, name, limit=limit)
    return {"image": image, "width": width, "height": height}


def picture_size(
    image: bytes, name: str, *, decode: bool = False, limit: int = MAX_IMAGE_PIXELS, rotated: bool = False
) -> tuple[int, int]:
    """Width and height in pixels; raises ``Refused`` for what is no whole picture, or over the limit, and for what its
    EXIF rotates, unless ``rotated`` allows that.

    No pixels are made: what would not decode is told by its frame (``pictures.frame``), except for a WebP, which is
    decoded where that takes a time in proportion to its bytes. ``decode`` reads every pixel.
    """
    if not isinstance(image, bytes):
        raise Refused("undecodable picture", f"{name} is {str(image)[:40]!r}", "write the picture again")
    if len(image) > MAX_IMAGE_BYTES:
        raise _too_large(f"{name} has {len(image)} bytes, over {MAX_IMAGE_BYTES}")
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its size, which has a limit of its own, and of its EXIF
            return _size(image, name, decode, limit, rotated)
    except Refused:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(f"{name}: {error}") from error
    except Exception as error:  # a damaged picture makes Pillow raise almost anything
        detail = f"{name} is not a whole {', '.join(IMAGE_FORMATS)} picture ({len(image)} bytes)"
        raise Refused("undecodable picture", detail, "write the picture again") from error


def _size(image: bytes, name: str, decode: bool, limit: int, rotated: bool) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(image), formats=IMAGE_FORMATS) as picture:
        width, height = picture.size
        if width * height > limit or max(width, height) > MAX_SIDE:
            raise _too_large(f"{name} has {width} x {height} pixels, over {limit}, or {MAX_SIDE} on a side")
        if not width * height:
            raise ValueError("it has no pixels")
        if image.startswith(b"\xff\xd8") and width * height > JPEG_PIXELS_A_BYTE * len(image):
            raise ValueError("it has too few bytes")
        # Of a JPEG, later pictures are previews and gain maps of the first.
        if picture.format != "MPO" and getattr(picture, "is_animated", False):
            detail = f"{name} has several frames"
            raise Refused("animated picture", detail, "write the frame that was seen as a picture of its own")
        if decode or (picture.format == "WEBP" and width * height <= WEBP_PIXELS_A_BYTE * len(image)):
            picture.load()
    frame = pictures.frame(image)
    turned = _orientation(frame) if len(frame) > MAX_SHARED else _shared_orientation(frame)
    if turned in TURNED and not rotated:
        detail = f"{name} has the EXIF orientation {turned}: its pixels are not as it is seen"
        raise Refused("rotated picture", detail, "rotate the pixels and write the picture without EXIF")
    return width, height


def _orientation(frame: bytes) -> int | None:
    """The EXIF orientation of a picture's frame; raises what Pillow raises for a damaged one."""
    from PIL import Image

    with Image.open(io.BytesIO(frame), formats=IMAGE_FORMATS) as picture:
        if picture.format != "WEBP":
            picture.draft("L", (1, 1))  # of a JPEG, an eighth of each side
            picture.load()
        return picture.getexif().get(ORIENTATION)


_shared_orientation = lru_cache(maxsize=64)(_orientation)


def _too_large(detail: str) -> Refused:
    return Refused("picture too large", detail, "shrink it before it is ingested")
