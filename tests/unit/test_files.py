"""The tools of files: what they read of files that other programs wrote, and what nobody gets out of them."""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import wave
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from PIL import Image, ImageDraw, ImageFont
from pypdf import PdfWriter

from tests.unit.test_toolbox import at, call, made
from tracer import tools
from tracer.settings import ConfigError
from tracer.tools import documents, jail, reader
from tracer.tools.execution import Executors, Outcome
from tracer.tools.files import FILES
from tracer.tools.images import CropImage, ReadImage
from tracer.tools.reader import PART, ReadFile
from tracer.tools.settings import GroundingConfig

HANDWRITTEN = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj
4 0 obj<</Length 47>>stream
BT /F1 24 Tf 20 100 Td (Invoice 4711) Tj ET    \nendstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R/Size 6>>
startxref
0
%%EOF
"""
BOMB = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a0 "lol">%s]><d>&a40;</d>""" % b"".join(
    b'<!ENTITY a%d "&a%d;&a%d;">' % (number, number - 1, number - 1) for number in range(1, 41)
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "files"
    found.mkdir()
    monkeypatch.setenv(FILES, str(found))
    return found


@pytest.fixture(scope="module")
def jailed() -> None:
    try:
        jail.python()
    except jail.JailError as error:
        pytest.skip(str(error))


def workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Tea"
    for row in (["name", "price"], ["Mint", 3.5], [], [None, None, "far"]):
        book.active.append(row)
    book.create_sheet("Größe")["A1"] = True
    book.save(path)


def letter(path: Path) -> None:
    made = docx.Document()
    made.add_heading("Offer")
    made.add_paragraph("Dear\tAnna")
    table = made.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "Mint", "3.50"
    made.save(path)


def slides(path: Path) -> None:
    made = pptx.Presentation()
    for number in range(1, 11):
        made.slides.add_slide(made.slide_layouts[5]).shapes.title.text = f"Title {number}"
    made.save(path)


def recording(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 2 * 12_000))


DOCUMENTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "tea.xlsx": (workbook, "sheet Tea:\nname\tprice\nMint\t3.5\n\n\t\tfar\nsheet Größe:\nTrue\n"),
    "offer.docx": (letter, "Offer\nDear\tAnna\nMint\t3.50\n"),
    "talk.pptx": (slides, "".join(f"slide {number}:\nTitle {number}\n" for number in range(1, 11))),
    "invoice.pdf": (lambda path: path.write_bytes(HANDWRITTEN), "page 1 of 1:\nInvoice 4711\n"),
    "an invoice.txt": (lambda path: path.write_bytes(HANDWRITTEN), "page 1 of 1:\nInvoice 4711\n"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_its_text_whatever_its_name_ends_with(folder: Path, jailed: None, name: str) -> None:
    write, text = DOCUMENTS[name]
    write(folder / name)
    assert made(ReadFile(), path=name) == Outcome(answer=text)


TEXTS = {
    "utf-8 with a mark": ("name,price\nMinze,3 €\n".encode("utf-8-sig"), "name,price\nMinze,3 €\n"),
    "Windows": ("Größe;3 €\n".encode("cp1252"), "Größe;3 €\n"),
    "utf-16": ("größer".encode("utf-16"), "größer"),
    "json": (b'{"a": [1]}', '{"a": [1]}'),
    "a web page, as it is": (b"<html><p>Tea &amp; more", "<html><p>Tea &amp; more"),
    "xml, as it is": (BOMB, BOMB.decode()),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_plain_text_is_read_as_it_is(folder: Path, kind: str) -> None:
    content, text = TEXTS[kind]
    (folder / "Straße 北.csv").write_bytes(content)
    assert made(ReadFile(), path="Straße 北.csv") == Outcome(answer=text)


def test_a_recording_and_a_picture_say_what_they_are(folder: Path, jailed: None) -> None:
    recording(folder / "a.wav")
    sound = made(ReadFile(), path="a.wav")
    assert sound is not None and {"channels: 2", "duration: 1.5", "samplerate: 8000"} <= {*sound.answer.splitlines()}
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Leica", 6
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    Image.new("RGB", (40, 30)).save(folder / "a.jpg", exif=exif)
    picture = made(ReadFile(), path="a.jpg")
    assert picture is not None and not picture.failed
    assert picture.answer.startswith("format: JPEG\nsize: 40 x 30\n")
    assert "DateTimeOriginal: 2024:01:02 03:04:05\n" in picture.answer and "Make: Leica\n" in picture.answer


def test_a_long_text_is_read_in_parts(folder: Path) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(PART + 10))
    (folder / "long.txt").write_text(text)
    first, last = made(ReadFile(), path="long.txt"), made(ReadFile(), path="long.txt", offset=PART)
    size = PART + 10
    assert first == Outcome(
        answer=f"[characters 0 to {PART} of {size}; the next ones are at offset {PART}]\n{text[:PART]}"
    )
    assert last == Outcome(answer=f"[characters {PART} to {size} of {size}]\n{text[PART:]}")
    beyond = made(ReadFile(), path="long.txt", offset=size)
    assert beyond == Outcome(answer=f"error: the text has only {size} characters", failed=True)
    (folder / "huge.txt").write_text("x" * (documents.MOST + 1))
    end = made(ReadFile(), path="huge.txt", offset=documents.MOST)
    assert end is not None and end.answer.endswith(f"\n[cut after {documents.MOST} characters]")


def outside(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop").symlink_to("loop")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    (folder / "deep").mkdir()
    (folder / "deep" / "twice.txt").write_text("1")
    (folder / "twice.txt").mkdir()
    (folder / "twice.txt" / "twice.txt").write_text("2")
    (folder / "empty.txt").touch()
    with open(folder / "large.txt", "wb") as file:
        file.truncate(10**9)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("../secret.txt", "climbs out"), ("deep/../../secret.txt", "climbs out"), ("/etc/passwd", "absolute"),
        ("C:\\secret.txt", "absolute"), ("link.txt", "links out"), ("up/secret.txt", "links out"),
        ("loop", ""), ("zero", "is no file"), ("pipe", "is no file"), ("deep/pipe", "is no file"),
        ("deep", "is not in"),
        (".", "is not in"), ("absent.txt", "looked for: its path in the folder, or a name that one file has"),
        ("data/twice.txt", "2 files are named like"), ("empty.txt", "is empty"), ("large.txt", "1000000000 bytes"),
        ("secret.txt", "is not in"), ("a\0b", "empty, absolute"), ("\ud800", "unicode"), ("x" * 999, "longer than"),
        ("", "at least 1 character"), ("x" * 1001, "at most 1000 characters"),
    ],
)  # fmt: skip
def test_nothing_outside_the_folder_is_read(folder: Path, path: str, says: str) -> None:
    outside(folder)
    outcome = made(ReadFile(), path=path)
    assert outcome is not None and outcome.failed and says in outcome.answer, outcome
    assert "secret" not in outcome.answer.replace("secret.txt", "")


def test_a_path_of_another_machine_finds_the_file_of_that_name(folder: Path) -> None:
    (folder / "2023").mkdir()
    (folder / "2023" / "a1b2.csv").write_text("x,y")
    for path in ("2023/a1b2.csv", "./2023/a1b2.csv", "data/tongagent/files/a1b2.csv", "a1b2.csv"):
        assert made(ReadFile(), path=path) == Outcome(answer="x,y")


def archive(member: str, content: bytes, times: int = 1) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file, file.open(member, "w") as out:
        for _ in range(times):
            out.write(content)
    return written.getvalue()


def bomb() -> bytes:
    written = io.BytesIO()
    openpyxl.Workbook().save(written)
    with zipfile.ZipFile(written) as book:
        files = {name: book.read(name) for name in book.namelist()}
    row = b'<row r="1"><c r="A1" t="inlineStr"><is><t>'
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        for name, content in files.items():
            with book.open(name, "w") as out:
                if name != "xl/worksheets/sheet1.xml":
                    out.write(content)
                    continue
                out.write(b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>')
                out.write(row)
                for _ in range(300):  # 300 megabytes of one cell
                    out.write(b" " * 2**20)
    return written.getvalue()


def encrypted(algorithm: str) -> bytes:
    written, writer = io.BytesIO(), PdfWriter(io.BytesIO(HANDWRITTEN))
    writer.encrypt("secret", algorithm=algorithm)
    writer.write(written)
    return written.getvalue()


LOOP = HANDWRITTEN.replace(b"/Kids[3 0 R]/Count 1", b"/Kids[2 0 R]/Count 9")
DEEP = b"<p>" * 100_000 + b"</p>" * 100_000
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a workbook that explodes": (bomb, "too much time or memory|MemoryError|bytes of memory"),
    "a letter that explodes": (
        lambda: archive(documents.LETTER, b"<p>" + b"<p/>" * 2**18, 12),
        "memory|MemoryError|ParseError",
    ),
    "a billion laughs": (lambda: archive(documents.LETTER, BOMB), "ParseError|memory"),
    "deep XML": (lambda: archive(documents.LETTER, DEEP), "RecursionError|memory"),
    "a PDF whose pages are each other": (lambda: LOOP, "cannot be read|no text"),
    "a PDF that never ends": (lambda: b"%PDF-1.7\n" + b"1 0 obj<<" * 10**6, "cannot be read"),
    "an encrypted PDF, RC4": (lambda: encrypted("RC4-128"), "has not been decrypted"),
    "half a PDF": (lambda: HANDWRITTEN[:120], "cannot be read"),
    "an archive of nothing": (lambda: archive("a.txt", b"a"), "no workbook, letter or presentation"),
    "half an archive": (lambda: archive("a.txt", b"a")[:30], "BadZipFile"),
    "an encrypted letter": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "an encrypted one"),
    "noise": (lambda: bytes(range(256)) * 16, "cannot be read"),
    "half a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(32), "not a whole PNG"),
    "a picture of terabytes": (lambda: png_of(10**6, 10**6), "1000000000000 pixels"),
}


def png_of(width: int, height: int) -> bytes:
    written = io.BytesIO()
    Image.new("1", (8, 8)).save(written, "PNG")
    content = bytearray(written.getvalue())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_an_error(folder: Path, jailed: None, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LIMITS", replace(reader.LIMITS, memory=200 * jail.MEGABYTE))  # sooner reached
    (folder / "x.bin").write_bytes(HOSTILE[kind][0]())
    outcome = made(ReadFile(), path="x.bin")
    assert outcome is not None and outcome.failed, outcome
    assert re.search(HOSTILE[kind][1], outcome.answer), outcome
    assert len(outcome.answer) < 1000


def test_equal_contents_are_read_once_and_others_anew(
    folder: Path, jailed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    run = jail.run
    monkeypatch.setattr(jail, "run", lambda *given: (ran.append(1), run(*given))[1])
    content = HANDWRITTEN.replace(b"4711", b"0815")
    for name in ("a.pdf", "b.pdf"):
        (folder / name).write_bytes(content)
        assert made(ReadFile(), path=name) == Outcome(answer="page 1 of 1:\nInvoice 0815\n")
    (folder / "half.pdf").write_bytes(content[:200])
    assert made(ReadFile(), path="half.pdf") == made(ReadFile(), path="half.pdf")
    assert len(ran) == 2  # a failure is remembered, too
    tool = ReadFile()
    (folder / "c.txt").write_text("old")
    assert made(tool, path="c.txt") == Outcome(answer="old")
    (folder / "c.txt").write_text("new")
    assert made(tool, path="c.txt") == Outcome(answer="new")


def shown(text: str, path: Path, turned: int = 1) -> None:
    """A picture of 400 x 100 pixels with a text on its right half, as it is seen when it is upright."""
    picture = Image.new("RGB", (400, 100), "white")
    font = ImageFont.load_default(32)
    ImageDraw.Draw(picture).text((220, 30), text, "black", font)
    exif = Image.Exif()
    exif[0x0112] = turned
    (picture.rotate(90, expand=True) if turned == 6 else picture).save(path, exif=exif)


@pytest.mark.parametrize("turned", [1, 6])
def test_the_text_on_a_picture_or_a_part_of_it_is_read(folder: Path, turned: int) -> None:
    shown("Mint tea", folder / "sign.jpg", turned)
    tool = ReadImage()
    assert made(tool, path="sign.jpg") == Outcome(answer="Mint tea")
    part = made(CropImage(), path="sign.jpg", left=200, top=20, width=900, height=60)
    assert part == Outcome(answer="sign.jpg#xywh=200,20,200,60")
    assert made(tool, path=part.answer) == Outcome(answer="Mint tea")
    left = made(CropImage(), path="sign.jpg", left=0, top=0, width=200, height=100)
    assert left is not None and made(tool, path=left.answer) == Outcome(answer="no text")
    inner = made(CropImage(), path=part.answer, left=150, top=10, width=100, height=10)
    assert inner == Outcome(answer="sign.jpg#xywh=350,30,50,10")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("sign.png#xywh=400,0,9,9", "has 400 x 100 pixels, and no such part"),
        ("sign.png#xywh=0,0,0,9", "no such part"), ("sign.png#xywh=1,2,3", "is not in"),
        ("sign.png#xywh=-1,0,9,9", "is not in"), ("text.png", "is not a whole PNG"),
        ("large.png", "1000000000000 pixels"), ("../sign.png#xywh=0,0,9,9", "climbs out"),
        ("moving.webp", "several frames"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_an_error(folder: Path, path: str, says: str) -> None:
    shown("Mint tea", folder / "sign.png")
    (folder / "text.png").write_text("a text")
    (folder / "large.png").write_bytes(png_of(10**6, 10**6))
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    outcome = made(ReadImage(), path=path)
    assert outcome is not None and outcome.failed and says in outcome.answer, outcome


def test_the_smallest_pictures_have_no_text(folder: Path) -> None:
    for size in ((1, 1), (1, 50), (500, 1)):
        Image.new("RGBA", size).save(folder / "dot.png")
        assert made(ReadImage(), path="dot.png") == Outcome(answer="no text")


def test_a_recorded_call_of_mm_traj_is_run(folder: Path) -> None:
    shown("Mint tea", folder / "1.jpg")
    recorded, other = call("ocr", image_path="data/open_llava_next/1.jpg"), call("read_image", path="1.jpg")
    executors = Executors(["read_image"])
    assert executors.reward(at(recorded), recorded) == executors.reward(at(recorded), other) == 1.0
    assert executors.reward(at(recorded), call("ocr", image_path="absent.jpg")) == 0.0
    assert executors.reward(at(recorded), call("ocr", image="1.jpg")) == 0.0


def test_the_lineage_names_the_tools_and_the_files(folder: Path, jailed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = GroundingConfig(executors=("read_file", "read_image", "crop_image"))
    (folder / "a.txt").write_text("one")
    before = tools.identities(config)["tools"]
    assert [each["name"] for each in before] == [
        "read_file", "read_file/TRACER_FILES", "read_image", "read_image/TRACER_FILES", "crop_image",
        "crop_image/TRACER_FILES",
    ]  # fmt: skip
    assert "pypdf " in before[0]["version"] and "rapidocr-onnxruntime " in before[2]["version"]
    assert tools.identities(config)["tools"] == before
    (folder / "a.txt").write_text("two")
    after = tools.identities(config)["tools"]
    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False] * 3
    os.mkfifo(folder / "pipe")
    assert tools.identities(config)["tools"] == after
    (folder / "a.txt").rename(folder / "b.txt")
    assert tools.identities(config)["tools"] != after
    monkeypatch.setenv(FILES, str(folder / "absent"))
    with pytest.raises(ConfigError, match=r"TRACER_FILES names '.*absent', which is no folder"):
        tools.identities(config)
    with pytest.raises(ConfigError, match="which is no folder"):
        made(ReadFile(), path="a.txt")


@pytest.mark.parametrize("name", ["read_file", "read_image", "crop_image"])
def test_without_a_folder_a_tool_of_files_is_off(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(FILES, raising=False)
    asking = call(name, path="a.png", left=0, top=0, width=1, height=1)
    executors = Executors([name])
    assert executors.reward(at(asking), asking) is None and executors.identities() == []
    outcome = executors._executors[0].execute(at(asking), asking)
    assert outcome == Outcome(answer=f"error: there are no files; name their folder in {FILES}", failed=True)


def test_without_its_libraries_or_a_jail_no_call_is_judged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    def refuse(*given: object) -> jail.Ended:
        raise jail.JailError("nothing can be isolated")

    (folder / "a.pdf").write_bytes(HANDWRITTEN.replace(b"4711", b"0001"))
    monkeypatch.setattr(jail, "run", refuse)
    with pytest.raises(jail.JailError):
        made(ReadFile(), path="a.pdf")
    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(
        ConfigError, match=r"needs the package openpyxl: pip install -c constraints.txt -e '.\[files\]'"
    ):
        reader.libraries.__wrapped__()
