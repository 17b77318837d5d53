"""The program that reads a document: it runs in the jail, sees the file and the libraries, and prints the text.

It is started there as a file of its own, under another Python, so it imports nothing of this project.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

FILE, LIBRARIES = "file", "libraries.zip"
MOST = 200_000
"""Characters of a text; what follows is not read."""
WORKBOOK, LETTER, SLIDE = "xl/workbook.xml", "word/document.xml", re.compile(r"ppt/slides/slide(\d+)\.xml")
PDF, ZIP, OLD_OFFICE = DOCUMENTS = (b"%PDF-", b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How a file of each kind begins."""


def pieces(content: bytes) -> Iterator[str]:
    """The text of a document, piece by piece. Raises whatever its library raises for a damaged one."""
    if content.startswith(PDF):
        return pages(content)
    if content.startswith(ZIP):
        return parts(content)
    if content.startswith(OLD_OFFICE):
        raise ValueError("it is a document of an old Office, or an encrypted one")
    return tags(content)


def pages(content: bytes) -> Iterator[str]:
    """The pages of a PDF."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    for number in range(1, len(reader.pages) + 1):
        yield f"page {number} of {len(reader.pages)}:\n{reader.pages[number - 1].extract_text()}\n"


def parts(content: bytes) -> Iterator[str]:
    """The sheets of a workbook, the paragraphs of a letter or the slides of a presentation."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        slides = sorted((int(found[1]), name) for name in names if (found := SLIDE.fullmatch(name)))
        if WORKBOOK in names:
            yield from sheets(content)
        elif LETTER in names:
            yield words(ElementTree.fromstring(archive.read(LETTER)))
        elif slides:
            for number, name in slides:
                yield f"slide {number}:\n{words(ElementTree.fromstring(archive.read(name)))}"
        else:
            raise ValueError("it is an archive, and no workbook, letter or presentation")


def sheets(content: bytes) -> Iterator[str]:
    """The rows of a workbook's sheets; of a formula, the value that was saved with it."""
    from openpyxl import load_workbook

    for sheet in load_workbook(io.BytesIO(content), read_only=True, data_only=True).worksheets:
        yield f"sheet {sheet.title}:\n"
        sheet.reset_dimensions()  # a file may state any
        for row in sheet.iter_rows(values_only=True):
            yield "\t".join("" if cell is None else str(cell) for cell in row).rstrip("\t") + "\n"


def words(node: ElementTree.Element) -> str:
    """The text of Office's XML, whose paragraphs and tables have the same names in letters and presentations."""
    name = node.tag.rpartition("}")[2]
    if name in ("t", "tab", "br", "cr"):
        return {"t": node.text or "", "tab": "\t"}.get(name, "\n")
    if name in ("pPr", "Fallback"):  # how a paragraph looks; a second copy for programs that cannot show the first
        return ""
    inner = "".join(map(words, node))
    if name == "tc":
        return " ".join(inner.split()) + "\t"
    return f"{inner.rstrip()}\n" if name in ("p", "tr") else inner


def tags(content: bytes) -> Iterator[str]:
    """What a recording says about itself."""
    from tinytag import TinyTag

    found = TinyTag.get(file_obj=io.BytesIO(content)).as_dict()
    for key, value in sorted(found.items()):
        yield f"{key}: {round(value, 3) if isinstance(value, float) else value}\n"


def cut(texts: Iterator[str]) -> str:
    """The texts until there are ``MOST`` characters."""
    read, size = [], 0
    for text in texts:
        read.append(text)
        size += len(text)
        if size > MOST:
            return "".join(read)[:MOST] + f"\n[cut after {MOST} characters]"
    return "".join(read)


def main(folder: Path) -> None:
    """Print the text of the file that the folder holds, or why it has none."""
    sys.path.insert(0, str(folder / LIBRARIES))
    warnings.simplefilter("ignore")
    logging.disable()
    try:
        text = cut(pieces((folder / FILE).read_bytes()))
    except (Exception, RecursionError) as error:  # whatever a hostile file makes a library raise
        print(f"{type(error).__name__}: {str(error)[:300]}")
        raise SystemExit(1) from None
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))


if __name__ == "__main__":
    main(Path("/given"))
