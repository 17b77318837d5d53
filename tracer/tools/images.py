"""Tools of pictures: the text on one, and a part of one. A part is named as W3C's Media Fragments name it.

``photo.png#xywh=100,40,200,160`` is what lies 100 pixels from the left, 40 from the top, 200 wide and 160 high. A crop
writes no file: its answer is such a name, which every tool of pictures takes as a path.
Source: https://www.w3.org/TR/media-frags/, section 4.2.2, in pixels, with a box that is clipped to the picture.
"""

from __future__ import annotations

import io
import re

from PIL import Image, ImageOps
from pydantic import AliasChoices, Field

from tracer.sources.source import IMAGE_FORMATS, Refused, picture_size
from tracer.tools.files import FileTool, Named, contents, installed
from tracer.tools.ocr import OcrLocator

Pixels = tuple[int, int, int, int]
"""The left, top, right and bottom of a part."""
FRAGMENT = re.compile(r"(.+)#xywh=(?:pixel:)?(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})")

MOST_NARROW = 4
"""The longer side of what is read, to the shorter."""


class Picture(Named):
    """Which picture."""

    path: str = Field(
        min_length=1,
        max_length=1000,
        validation_alias=AliasChoices("path", "image_path"),  # the second as MM-Traj's calls have it
        description="A picture's path, or a part of it as crop_image names it. Photos are upright, as EXIF turns them.",
    )


class Crop(Picture):
    """Which part of a picture, in pixels."""

    left: int = Field(ge=0)
    top: int = Field(ge=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class ReadImage(FileTool[Picture]):
    """Reads the text on a picture, by OCR. It also runs MM-Traj's calls of ``ocr``."""

    name = "read_image"
    recorded = ("ocr",)
    about = "Reads the text on a picture; the answer is its lines, from top to bottom."
    arguments = Picture

    def __init__(self) -> None:
        super().__init__()
        self._reader = OcrLocator()

    def run(self, arguments: Picture) -> str:
        """The lines. Raises ``ValueError`` for what is no picture."""
        shown = part(arguments.path)
        # The reader enlarges the shorter side: on a narrow strip it would take minutes. White is added to it.
        sides = max(shown.width, shown.height // MOST_NARROW), max(shown.height, shown.width // MOST_NARROW)
        canvas = Image.new("RGB", sides, "white")
        canvas.paste(shown)
        lines = self._reader.read(png(canvas))
        return "\n".join(line.text for line in lines) or "no text"

    def version(self) -> str:
        """Of tracer and the reader, whose weights come in its package."""
        return f"{super().version()}, {installed('rapidocr-onnxruntime', 'ocr')}"


class CropImage(FileTool[Crop]):
    """Names a part of a picture."""

    name = "crop_image"
    about = "Cuts a part out of a picture, in pixels; the answer is a path for the other tools of pictures."
    arguments = Crop

    def run(self, arguments: Crop) -> str:
        """The part's name, clipped to the picture. Raises ``ValueError`` for a part that lies outside."""
        name, box = split(arguments.path)
        _, within = opened(name, box)
        left, top = within[0] + arguments.left, within[1] + arguments.top
        wanted = (left, top, left + arguments.width, top + arguments.height)
        left, top, right, bottom = clipped(wanted, within, f"{arguments.path!r} has no such part")
        return f"{name}#xywh={left},{top},{right - left},{bottom - top}"


def part(path: str) -> Image.Image:
    """A picture, or a part of one, upright. Raises ``ValueError``, and ``ConfigError``."""
    whole, box = opened(*split(path))
    return whole.crop(box)


def png(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def split(path: str) -> tuple[str, Pixels | None]:
    """A path's file, and the left, top, right and bottom of the part that it names."""
    found = FRAGMENT.fullmatch(path)
    if found is None:
        return path, None
    left, top, width, height = map(int, found.groups()[1:])
    return found[1], (left, top, left + width, top + height)


def opened(name: str, box: Pixels | None) -> tuple[Image.Image, Pixels]:
    """A picture, upright, and the part that is meant, clipped to it. Raises ``ValueError``, and ``ConfigError``."""
    content = contents(name)
    try:
        picture_size(content, name, decode=True, rotated=True)
    except Refused as error:
        raise ValueError(error.detail) from error
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as found:
            whole = ImageOps.exif_transpose(found).convert("RGB")
    except Exception as error:  # damaged EXIF makes Pillow raise almost anything
        raise ValueError(f"{name!r} cannot be turned as its EXIF says: {error}") from error
    full = (0, 0, *whole.size)
    problem = f"{name!r} has {whole.width} x {whole.height} pixels, and no such part"
    return whole, clipped(box or full, full, problem)


def clipped(box: Pixels, within: Pixels, problem: str) -> Pixels:
    """A box that begins inside another, clipped to that one; raises ``ValueError`` with the problem if it does not."""
    left, top, right, bottom = box[0], box[1], min(box[2], within[2]), min(box[3], within[3])
    if left >= right or top >= bottom:
        raise ValueError(problem)
    return left, top, right, bottom
