"""A forecast drawn on the screenshot it was made for: a numbered path, right steps green and wrong ones red.

The reference's target is outlined. Every step is listed below the screen, those without a place included. Colour is
never alone: a right step is a disc with a tick, a wrong one a square with a cross.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from tracer.forecast import Forecast
from tracer.tools.tool_agent import needs_place
from tracer.trajectory import Point, State

WIDTH = 480
"""Pixels a small screen is enlarged to; a larger one is brought down to at most ``LARGEST``."""
LARGEST = 960
TALLEST = 4 * LARGEST
"""Pixels that a screen is drawn high at most: one column of pixels, enlarged, would fill the memory."""
RIGHT, WRONG, NEUTRAL = (22, 138, 74), (208, 44, 48), (38, 96, 190)
INK, FAINT, PAPER, REFERENCE, RULE = (28, 30, 34), (110, 116, 126), (255, 255, 255), (224, 140, 0), (222, 225, 230)
RADIUS = 13
LINE = 26
TEXT = 16
MARGIN = 12
OVERSAMPLED = 3
"""Marks are drawn at this multiple and brought down: Pillow's own lines and discs are jagged."""


def paint(
    state: State, forecast: Forecast | None, reference: Forecast = (), right: Sequence[bool] = (), error: str = ""
) -> bytes:
    """The picture as PNG bytes, the same for the same arguments.

    ``right`` says of each forecast step whether it is right (a step beyond it is drawn as wrong); without a reference
    nothing is right or wrong and the steps are blue. ``error`` is shown where there is no forecast.
    """
    screen = drawn(state)
    steps = forecast or ()
    colours = [_colour(index, reference, right) for index in range(len(steps))]
    _outline(screen, reference)
    _path(screen, steps, colours, bool(reference))
    lines = _legend(steps, colours, reference, error, screen.width)
    canvas = Image.new("RGB", (screen.width, screen.height + 2 * MARGIN + LINE * len(lines)), PAPER)
    canvas.paste(screen, (0, 0))
    pen = ImageDraw.Draw(canvas)
    pen.line([(0, screen.height), (screen.width, screen.height)], fill=RULE, width=1)
    for row, line in enumerate(lines):
        _write(canvas, pen, line, screen.height + MARGIN + LINE * row, bool(reference))
    buffer = io.BytesIO()
    canvas.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def drawn(state: State) -> Image.Image:
    """The screen in the size in which forecasts are painted on it."""
    if state.image is None:
        blank = Image.new("RGB", (WIDTH, 3 * LINE), (244, 245, 247))
        ImageDraw.Draw(blank).text((WIDTH / 2, 1.5 * LINE), "no screen", fill=FAINT, font=_font(15), anchor="mm")
        return blank
    with Image.open(io.BytesIO(state.image)) as opened:
        screen = opened.convert("RGB")
    # Whole multiples keep small letters sharp.
    factor = max(1, WIDTH // screen.width) if screen.width < LARGEST else LARGEST / screen.width
    factor = min(factor, TALLEST / screen.height)
    size = (max(1, round(screen.width * factor)), max(1, round(screen.height * factor)))
    return screen.resize(size, Image.Resampling.LANCZOS)


def _colour(index: int, reference: Forecast, right: Sequence[bool]) -> tuple[int, int, int]:
    if not reference:
        return NEUTRAL
    return RIGHT if index < len(right) and right[index] else WRONG


def _outline(screen: Image.Image, reference: Forecast) -> None:
    """The box (else the place) of the reference's first step, dashed."""
    first = reference[0] if reference else None
    if first is None or (first.target is None and first.action.point is None):
        return
    width, height = screen.size
    if first.target is None:
        x, y = first.action.point or (0.0, 0.0)
        first_box = (x * width - 14, y * height - 14, x * width + 14, y * height + 14)
    else:
        left, top, right, bottom = first.target
        first_box = (left * width - 2, top * height - 2, right * width + 2, bottom * height + 2)
    pen = ImageDraw.Draw(screen)
    left, top, right, bottom = (round(edge) for edge in first_box)
    left, top = max(left, 1), max(top, 1)
    right, bottom = min(right, width - 2), min(bottom, height - 2)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for start, end in pairwise(corners):
        _dashes(pen, start, end)


def _dashes(pen: ImageDraw.ImageDraw, start: tuple[int, int], end: tuple[int, int]) -> None:
    length = math.dist(start, end)
    pen.line([start, end], fill=PAPER, width=4)
    for begin in range(0, max(round(length), 1), 12):
        part = [
            tuple(a + (b - a) * min(at, length) / max(length, 1) for a, b in zip(start, end, strict=True))
            for at in (begin, begin + 8)
        ]
        pen.line([(part[0][0], part[0][1]), (part[1][0], part[1][1])], fill=REFERENCE, width=3)


def _path(screen: Image.Image, steps: Forecast, colours: Sequence[tuple[int, int, int]], judged: bool) -> None:
    """The numbered marks, joined by lines in the order of the steps; marks at one place stand beside each other."""
    placed: list[tuple[int, Point]] = []
    for index, step in enumerate(steps):
        if step.action.point is not None:
            placed.append((index, _free(step.action.point, [point for _, point in placed], screen.size)))
    scale = OVERSAMPLED
    layer = Image.new("RGBA", (screen.width * scale, screen.height * scale))
    pen = ImageDraw.Draw(layer)
    for (_, start), (index, end) in pairwise(placed):
        ends = [tuple(value * scale for value in start), tuple(value * scale for value in end)]
        pen.line([*ends], fill=(*PAPER, 200), width=6 * scale)
        pen.line([*ends], fill=(*colours[index], 235), width=3 * scale)
    for index, (x, y) in reversed(placed):
        _mark(pen, x * scale, y * scale, RADIUS * scale, str(index + 1), colours[index], judged)
    small = layer.resize(screen.size, Image.Resampling.LANCZOS)
    screen.paste(small, (0, 0), small)


def _free(point: Point, taken: Sequence[Point], size: tuple[int, int]) -> Point:
    """The point in pixels, or the nearest place around it where a mark covers no earlier one."""
    x, y = point[0] * size[0], point[1] * size[1]
    around = [(0.0, 0.0)] + [
        (math.cos(turn * math.pi / 4) * ring * 2 * RADIUS, math.sin(turn * math.pi / 4) * ring * 2 * RADIUS)
        for ring in (1, 2)
        for turn in range(8)
    ]
    places = [
        (min(max(x + dx, RADIUS), size[0] - RADIUS), min(max(y + dy, RADIUS), size[1] - RADIUS)) for dx, dy in around
    ]
    return next(
        (place for place in places if all(math.dist(place, other) >= 1.7 * RADIUS for other in taken)), places[0]
    )


def _mark(
    pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, text: str, colour: tuple[int, int, int], judged: bool
) -> None:
    box = [x - radius, y - radius, x + radius, y + radius]
    edge = max(2, round(radius / 6))
    if judged and colour == WRONG:
        pen.rounded_rectangle(box, radius / 3, fill=colour, outline=PAPER, width=edge)
    else:
        pen.ellipse(box, fill=colour, outline=PAPER, width=edge)
    pen.text((x, y), text, fill=PAPER, font=_font(1.15 * radius), anchor="mm")


def _legend(
    steps: Forecast, colours: Sequence[tuple[int, int, int]], reference: Forecast, error: str, width: int
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for index, step in enumerate(steps):
        # A step that needs a place and has none aims at something that this screen does not show yet.
        note = "  (not on this screen)" if needs_place(step) and step.action.point is None else ""
        lines.append({"number": str(index + 1), "text": step.instruction + note, "colour": colours[index]})
    if not steps:
        lines.append({"number": "", "text": f"no forecast: {error or 'the answer is empty'}", "colour": WRONG})
    if reference:
        lines.append({"number": "", "text": "really done:", "colour": FAINT})
    lines += [
        {"number": "", "text": f"{index}   {step.instruction}", "colour": FAINT}
        for index, step in enumerate(reference, start=1)
    ]
    room = width - 2 * MARGIN
    return [{**line, "text": _fit(line["text"], room - (2 * LINE if line["number"] else 0))} for line in lines]


def _write(canvas: Image.Image, pen: ImageDraw.ImageDraw, line: dict[str, Any], top: int, judged: bool) -> None:
    middle = top + LINE / 2
    left = MARGIN
    if line["number"]:
        scale = OVERSAMPLED
        badge = Image.new("RGBA", (LINE * scale, LINE * scale))
        centre = LINE * scale / 2
        _mark(ImageDraw.Draw(badge), centre, centre, 11 * scale, line["number"], line["colour"], judged)
        badge = badge.resize((LINE, LINE), Image.Resampling.LANCZOS)
        canvas.paste(badge, (left, top), badge)
        left += LINE + 6
        if judged:
            _verdict(pen, canvas.width - MARGIN - 10, middle, line["colour"])
    colour = INK if line["number"] else line["colour"]
    pen.text((left, middle), line["text"], fill=colour, font=_font(TEXT), anchor="lm")


def _verdict(pen: ImageDraw.ImageDraw, x: float, y: float, colour: tuple[int, int, int]) -> None:
    if colour == RIGHT:
        pen.line([(x - 6, y), (x - 2, y + 4), (x + 6, y - 5)], fill=colour, width=3, joint="curve")
    else:
        pen.line([(x - 5, y - 5), (x + 5, y + 5)], fill=colour, width=3)
        pen.line([(x - 5, y + 5), (x + 5, y - 5)], fill=colour, width=3)


def _fit(text: str, width: int) -> str:
    whole = text.replace("\n", " ")
    text = whole[: max(0, width)]  # no letter is narrower than a pixel
    if text == whole and _font(TEXT).getlength(text) <= width:
        return text
    while text and _font(TEXT).getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _font(size: float) -> Any:
    """Pillow's own typeface: the same letters on every machine."""
    return ImageFont.load_default(size)
