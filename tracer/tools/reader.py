"""The text of a file: documents and recordings are read in the jail, plain text and pictures here."""

from __future__ import annotations

import importlib.metadata
import io
import zipfile
from functools import cache
from pathlib import Path

from PIL import ExifTags, Image
from pydantic import Field

from tracer.sources.source import IMAGE_FORMATS, Refused, picture_size
from tracer.tools import documents, jail
from tracer.tools.execution import OBSERVED
from tracer.tools.files import FileTool, Named, by_content, contents, installed

READERS = ("openpyxl", "et_xmlfile", "pypdf", "tinytag")
"""The distributions that documents.py imports, of the extra ``files``. None has compiled parts, because the jail may
run another Python."""
LIMITS = jail.Limits(seconds=30, wall=180.0, memory=1024 * jail.MEGABYTE, output=8 * documents.MOST)
PART = OBSERVED - 200
"""Characters of an answer, which the planner is shown whole."""
UNICODE_16 = (b"\xff\xfe", b"\xfe\xff")


class Part(Named):
    """What is read."""

    offset: int = Field(default=0, ge=0, description="How many characters of the text to skip.")


class ReadFile(FileTool[Part]):
    """Reads one file. Raises ``JailError`` for a document where there can be no jail."""

    name = "read_file"
    about = (
        "Reads a file: the text of a document (pdf, docx, pptx, xlsx) or of a text file (csv, json, html, ...), "
        f"or what a picture or a recording says about itself. The answer has {PART} characters at most."
    )
    arguments = Part

    def run(self, arguments: Part) -> str:
        """The text from ``offset`` on, and what was left out. Raises ``ValueError`` for what cannot be read."""
        text = text_of(contents(arguments.path), arguments.path)
        start, end = arguments.offset, arguments.offset + PART
        if start and start >= len(text):
            raise ValueError(f"the text has only {len(text)} characters")
        if len(text) <= PART:
            return text
        more = f"; the next ones are at offset {end}" if end < len(text) else ""
        return f"[characters {start} to {min(end, len(text))} of {len(text)}{more}]\n{text[start:end]}"

    def version(self) -> str:
        """Of tracer and the libraries that read. Raises ``ConfigError``, also where there can be no jail."""
        jail.python()
        return ", ".join([super().version(), *(installed(name, "files") for name in READERS)])


def text_of(content: bytes, name: str) -> str:
    """The text of a file, whatever its name ends with. Raises ``ValueError``, and ``ConfigError``."""
    if content.startswith((b"\x89PNG", b"\xff\xd8\xff")) or content[8:12] == b"WEBP":
        return about_picture(content, name)
    plain = b"\0" not in content or content.startswith(UNICODE_16)
    if plain and not content.startswith(documents.DOCUMENTS):
        return decoded(content)
    ended = _read(content)
    if ended.code or ended.stopped:
        why = ended.output.strip() if ended.code == 1 else "it takes too much time or memory"
        raise ValueError(f"{name!r} cannot be read: {ended.stopped or why}")
    if not ended.output.strip():
        raise ValueError(f"{name!r} contains no text; its pages may be pictures")
    return ended.output


def decoded(content: bytes) -> str:
    """A plain text, cut as documents are; what is no Unicode is read as Windows' Latin."""
    encoding = "utf-16" if content.startswith(UNICODE_16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    return documents.cut(iter([text]))


def about_picture(content: bytes, name: str) -> str:
    """The format and size of a picture, and its EXIF. Raises ``ValueError``."""
    try:
        picture_size(content, name, rotated=True)
    except Refused as error:
        raise ValueError(error.detail) from error
    with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as picture:
        about = f"format: {picture.format}\nsize: {picture.width} x {picture.height}\n"
        try:
            exif = picture.getexif()
            known = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
        except Exception:  # a damaged one makes Pillow raise almost anything
            return f"{about}damaged EXIF\n"
    said = (f"{ExifTags.TAGS.get(tag, tag)}: {str(value)[:200]}\n" for tag, value in known.items()
            if not isinstance(value, bytes))  # fmt: skip
    return about + "".join(sorted(said))


@by_content
def _read(content: bytes) -> jail.Ended:
    program = Path(documents.__file__).read_text(encoding="utf-8")
    return jail.run(program, LIMITS, {documents.FILE: content, documents.LIBRARIES: libraries()})


@cache
def libraries() -> bytes:
    """The readers as an archive that Python imports from. Raises ``ConfigError``."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in READERS:
            installed(name, "files")
            for each in importlib.metadata.files(name) or ():
                if each.suffix == ".py":
                    archive.writestr(str(each), each.read_binary())
    return written.getvalue()
