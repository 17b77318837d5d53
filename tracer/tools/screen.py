"""A screenshot of one's own as a state to forecast from: its elements are the lines of text that OCR reads on it."""

from __future__ import annotations

from pathlib import Path

from tracer.sources.source import picture_size
from tracer.tools.ocr import OcrLocator
from tracer.trajectory import Element, State

ROLE = "text"


def state_of(image: Path, goal: str) -> State:
    """The state of a screenshot, with an element for each line of text, in reading order.

    Raises ``OSError`` for a file that cannot be read, ``SourceError`` for one that is no whole picture.
    """
    content = image.read_bytes()
    width, height = picture_size(content, str(image), decode=True)
    elements = tuple(Element(role=ROLE, text=line.text, box=line.box) for line in OcrLocator().read(content))
    return State(goal=goal, image=content, width=width, height=height, elements=elements)
