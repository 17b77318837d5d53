"""Secrets are taken out of texts, of elements and of pictures, and nothing else is."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.episodes import picture as drawn
from tracer.environments.privacy import COVER, MASK, Secrets, picture


def element(role: str, text: str, value: str = "", box: tuple[float, ...] = (0, 0, 40, 20)) -> dict[str, object]:
    return {"role": role, "text": text, "value": value, "state": "", "box": box}


@pytest.mark.parametrize(
    ("text", "clipped", "told"),
    [
        ("you typed Tr0ub4dor!", False, f"you typed {MASK}!"),
        ("Tr0ub4dor Tr0ub4dor", False, f"{MASK} {MASK}"),
        ("a long text that ends in Tr0ub4", True, f"a long text that ends in {MASK}"),
        ("a short text that ends in Tr0ub4", False, "a short text that ends in Tr0ub4"),
        ("pay 12", False, "pay 12"),  # too short to be looked for everywhere
        ("Ada Lovelace", False, MASK),
    ],
)
def test_texts(text: str, clipped: bool, told: str) -> None:
    secrets = Secrets()
    secrets.add(["Tr0ub4dor", "12", " Ada  Lovelace ", ""])
    assert secrets.masked(text, clipped) == told


def test_elements_in_private_boxes_lose_their_contents_and_fields_keep_their_names() -> None:
    secrets = Secrets()
    secrets.add(["hunter2hunter2"])
    given = [
        element("input:password", "Password", "hunter2hunter2"),
        element("input:text", "Code", "7"),
        element("b", "Balance 12"),
        element("input:text", "Quantity", "7", (100, 0, 140, 20)),
        element("p", "It was hunter2hunter2", "", (100, 40, 140, 60)),
    ]
    told, boxes = secrets.covered(given, [(0, 0, 50, 25)], limit=40)
    assert [(each["text"], each["value"]) for each in told] == [
        ("Password", MASK), ("Code", MASK), (MASK, ""), ("Quantity", "7"), (f"It was {MASK}", ""),
    ]  # fmt: skip
    assert (100, 40, 140, 60) in boxes and (100, 0, 140, 20) not in boxes
    assert secrets.covered([element("input:password", "Password")], [(0, 0, 50, 25)], 40)[0][0]["value"] == ""


def test_pictures_are_covered_before_they_are_encoded() -> None:
    covered = picture(drawn("a secret"), [(0, 0, 60, 20), (-10, -10, -5, -5), (150, 200, 400, 400)])
    image = Image.open(io.BytesIO(covered))
    assert image.format == "WEBP" and image.size == (160, 210)
    inside = [image.getpixel((x, y)) for x in range(60) for y in range(20)]
    assert set(inside) == {COVER}
    assert image.getpixel((100, 100)) == (255, 255, 255)
