"""A screenshot of one's own as a state to forecast from: its elements are the lines of text that OCR reads on it."""

from __future__ import annotations

from tracer.settings import ConfigError
from tracer.sources.source import Refused, picture_size
from tracer.tools.ocr import OcrLocator
from tracer.trajectory import Element, State

ROLE = "text"


def state_of(content: bytes, goal: str, name: str, reader: OcrLocator | None = None) -> State:
    """The state of an encoded screenshot, with an element for each line of text, in reading order.

    ``name`` is what errors call it. Raises ``ConfigError`` for what is no whole picture.
    """
    try:
        width, height = picture_size(content, name, decode=True)
    except Refused as error:
        raise ConfigError(f"{error.detail}; {error.fix}") from error
    lines = (reader or OcrLocator()).read(content)
    elements = tuple(Element(role=ROLE, text=line.text, box=line.box) for line in lines)
    return State(goal=goal, image=content, width=width, height=height, elements=elements)
