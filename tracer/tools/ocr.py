"""A frozen tool agent that reads nothing but pixels: OCR finds the text that the instruction quotes.

The reader is RapidOCR (package ``rapidocr-onnxruntime``, Apache-2.0), whose weights come inside the package. What
has no readable text (an icon, an empty field) it cannot find, and says so by returning None.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from rapidfuzz import fuzz

from tracer.tools.tool_agent import Locator
from tracer.trajectory import Box, Point, State, centre

THRESHOLD = 75.0
"""The least similarity (rapidfuzz, 0 to 100) at which a read text counts as the quoted one."""
NEAR = 8.0
"""Texts that are at most this much less similar than the best one are taken for repetitions of it (ordinals)."""
READABLE = 640
"""Screens narrower than this many pixels are enlarged before reading."""
MAX_SCALE = 3
FLATTEST = 100
"""Sides of a screen, the longer to the shorter: RapidOCR refuses what is much flatter, and no text is on it."""
CACHED_SCREENS = 4096

_QUOTED = re.compile(r'"(.+)"', re.DOTALL)
_ORDINAL = re.compile(r"\bthe (\d+)(?:st|nd|rd|th) ")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text as it was read, with its box in fractions of the screen."""

    text: str
    box: Box


class OcrLocator(Locator):
    """Reads each screen once (0.3 to 1 s on a CPU core) and remembers it by its digest."""

    name = "ocr"

    def __init__(self) -> None:
        self._reader: Any = None
        self._read: OrderedDict[str, tuple[Line, ...]] = OrderedDict()

    def find(self, state: State, instruction: str) -> Point | None:
        """The place of the text that the instruction quotes."""
        return None if state.image is None else find(instruction, self.read(state.image))

    def read(self, image: bytes) -> tuple[Line, ...]:
        """The lines of text of an encoded screenshot, in reading order."""
        digest = hashlib.sha256(image).hexdigest()
        if digest not in self._read:
            self._read[digest] = self._recognise(image)
            if len(self._read) > CACHED_SCREENS:
                self._read.popitem(last=False)
        self._read.move_to_end(digest)
        return self._read[digest]

    def _recognise(self, image: bytes) -> tuple[Line, ...]:
        import numpy
        from PIL import Image

        if self._reader is None:
            from rapidocr_onnxruntime import RapidOCR

            # One thread: many readers of one machine share its cores with the planner.
            self._reader = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
        with Image.open(io.BytesIO(image)) as opened:
            screen = opened.convert("RGB")
        if max(screen.size) > FLATTEST * min(screen.size):
            return ()
        scale = max(1, min(MAX_SCALE, READABLE // screen.width))
        screen = screen.resize((screen.width * scale, screen.height * scale), Image.Resampling.BICUBIC)
        found, _ = self._reader(numpy.asarray(screen)[:, :, ::-1].copy())  # RapidOCR expects BGR
        lines = []
        for corners, text, _ in found or ():
            across, down = [corner[0] for corner in corners], [corner[1] for corner in corners]
            box = (
                max(min(across) / screen.width, 0.0),
                max(min(down) / screen.height, 0.0),
                min(max(across) / screen.width, 1.0),
                min(max(down) / screen.height, 1.0),
            )
            lines.append(Line(text, box))
        return tuple(sorted(lines, key=lambda line: (round(centre(line.box)[1], 2), line.box[0])))


def find(instruction: str, lines: tuple[Line, ...]) -> Point | None:
    """Where the text that the instruction quotes stands on the screen, or None.

    Among several places that read alike, the instruction's ordinal chooses, in reading order.
    """
    quoted = _QUOTED.search(instruction)
    if quoted is None:
        return None
    scored = [(score, point) for line in lines for score, point in [_match(quoted[1], line)] if score >= THRESHOLD]
    if not scored:
        return None
    best = max(score for score, _ in scored)
    ordinal = _ORDINAL.search(instruction[: quoted.start()])
    if ordinal is None:
        return next(point for score, point in scored if score == best)
    alike = [point for score, point in scored if score >= best - NEAR]
    wanted = int(ordinal[1]) - 1
    return alike[wanted] if 0 <= wanted < len(alike) else None


def _match(wanted: str, line: Line) -> tuple[float, Point]:
    """How well the text stands in the line, and where: its place within the line follows from its characters."""
    wanted, text = wanted.lower().strip(), line.text.lower()
    whole = fuzz.ratio(wanted, text)
    if whole >= THRESHOLD or len(wanted) < 3 or len(wanted) >= len(text):
        return whole, centre(line.box)
    part = fuzz.partial_ratio_alignment(wanted, text)
    if part is None or not _at_word(text, part.dest_start):
        return whole, centre(line.box)
    left, top, right, bottom = line.box
    middle = (part.dest_start + part.dest_end) / 2 / len(text)
    # A whole line that reads alike is a better guess than a part of a longer one.
    return part.score - 1.0, (left + (right - left) * middle, (top + bottom) / 2)


def _at_word(text: str, start: int) -> bool:
    return start == 0 or not text[start - 1].isalnum()
