"""A screenshot of one's own as a state to forecast from: its elements are the lines of text that OCR reads on it."""

from __future__ import annotations

from tracer.settings import ConfigError
from tracer.sources.source import MAX_IMAGE_PIXELS, Refused, picture_size
from tracer.tools.ocr import FLATTEST, OcrLocator
from tracer.trajectory import Element, State

ROLE = "text"


def size_of(content: bytes, name: str, limit: int = MAX_IMAGE_PIXELS) -> tuple[int, int]:
    """Width and height of an encoded screenshot; raises ``Refused`` for what is no whole picture, or no screen."""
    width, height = picture_size(content, name, decode=True, limit=limit)
    if max(width, height) > FLATTEST * min(width, height):  # processors of pictures refuse it, in ways of their own
        detail = f"{name} has {width} x {height} pixels, as no screen has"
        raise Refused("flat picture", detail, "show the whole screen")
    return width, height


def state_of(content: bytes, goal: str, name: str, reader: OcrLocator | None = None) -> State:
    """The state of an encoded screenshot, with an element for each line of text, in reading order.

    ``name`` is what errors call it. Raises ``ConfigError`` for what is no whole picture.
    """
    try:
        width, height = size_of(content, name)
    except Refused as error:
        raise ConfigError(f"{error.detail}; {error.fix}") from error
    lines = (reader or OcrLocator()).read(content)
    elements = tuple(Element(role=ROLE, text=line.text, box=line.box) for line in lines)
    return State(goal=goal, image=content, width=width, height=height, elements=elements)
