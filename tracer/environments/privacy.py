"""What must not be told: the contents of private fields, wherever they stand, in texts and in pictures.

Which fields are private is in ``PRIVATE``. A picture is covered before it is encoded, a text replaced before it is
written. Not known are contents that a page draws on a canvas, or writes in other words than the field has them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PRIVATE = (
    "input[type=password], [autocomplete$=-password], [autocomplete*=cc-], [autocomplete~=one-time-code]"
    ", [data-private]"
)
"""Passwords, payment cards, one-time codes, and what the page's author marked (a CSS selector)."""
MASK = "<private>"
SHORTEST = 4
"""Shorter secrets are looked for in their own fields alone: a text has too many letters and digits in common."""
MARGIN = 3
COVER = (96, 96, 96)
FIELDS = ("input", "textarea", "select")
Pixels = Sequence[float]
"""Left, top, right, bottom, in CSS pixels."""


class Secrets:
    """Every secret that was seen."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, found: Iterable[str]) -> None:
        """Remember contents of private fields."""
        for text in found:
            self._known |= {each for each in (text, text.strip(), " ".join(text.split())) if len(each) >= SHORTEST}

    def masked(self, text: str, clipped: bool = False) -> str:
        """The text without the secrets in it; ``clipped`` says that its end may be the beginning of one."""
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, MASK)
            if clipped:
                part = next((n for n in range(len(secret) - 1, SHORTEST - 1, -1) if text.endswith(secret[:n])), 0)
                text = text[: len(text) - part] + MASK if part else text
        return text

    def covered(
        self, elements: Iterable[Mapping[str, Any]], private: Sequence[Pixels], limit: int
    ) -> tuple[list[dict[str, Any]], list[Pixels]]:
        """The elements as they may be told, and the boxes of those that had something to hide.

        ``private`` are the boxes of the private fields, ``limit`` the length at which texts are cut.
        """
        told, boxes = [], []
        for element in elements:
            given = (element["text"], element["value"])
            text, value = (self.masked(each, clipped=len(each) >= limit - 1) for each in given)
            if any(_holds(box, element["box"]) for box in private):
                field = element["role"].partition(":")[0] in FIELDS
                text = text if field or not text else MASK
                value = value and MASK
            if (text, value) != given:
                boxes.append(element["box"])
            told.append({**element, "text": text, "value": value})
        return told, boxes


def _holds(outer: Pixels, inner: Pixels) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def picture(png: bytes, boxes: Iterable[Pixels]) -> bytes:
    """The picture as WebP, without loss, with the boxes painted over."""
    from PIL import Image, ImageDraw

    with Image.open(io.BytesIO(png)) as opened:
        image = opened.convert("RGB")
    draw = ImageDraw.Draw(image)
    for left, top, right, bottom in boxes:
        corners = (left - MARGIN, top - MARGIN, max(left, right) + MARGIN, max(top, bottom) + MARGIN)
        draw.rectangle(corners, fill=COVER)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, method=2)
    return buffer.getvalue()
