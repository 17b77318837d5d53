"""Charts as SVG text, to be placed in a page: colours come from the page's CSS, so that they follow light and dark.

A series or a row of points has the class ``c0``, ``c1``, ... in order; the page gives ``--c0``, ``--c1``, ... Numbers
are rounded to a tenth of a pixel: the same data give the same text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tracer.statistics import Interval

WIDTH, HEIGHT = 440, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 34
ROW = 22
MAX_TICKS = 10
"""Up to so many steps, each has its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A named line: values over steps, in order."""

    name: str
    points: tuple[tuple[float, float], ...]


def line_chart(series: Sequence[Series], label: str, *, share: bool = False, smooth: bool = True) -> str:
    """Lines over steps. ``share``: the axis is 0 to 100 %. ``smooth``: every value faint, their running mean strong."""
    series = [each for each in series if each.points]
    if not series:
        return ""
    across = [x for each in series for x, _ in each.points]
    values = [y for each in series for _, y in each.points]
    low, high, step = (0.0, 1.0, 0.25) if share else ticks(min(0.0, *values), max(values))
    first, last = min(across), max(across)

    def place(x: float, y: float) -> tuple[float, float]:
        span = (last - first) or 1.0
        inner = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + inner[0] * (x - first) / span, TOP + inner[1] * (high - y) / (high - low)

    parts = [_open(WIDTH, HEIGHT, label)]
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        _, y = place(first, value)
        text = f"{value:.0%}" if share else f"{value:.10g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    few = last - first <= MAX_TICKS and all(x.is_integer() for x in map(float, across))
    for x in dict.fromkeys(range(int(first), int(last) + 1) if few else (first, (first + last) // 2, last)):
        at, _ = place(x, low)
        parts.append(f'<text class="axis" x="{at:.1f}" y="{HEIGHT - 17}" text-anchor="middle">{x:.10g}</text>')
    parts.append(f'<text class="axis" x="{(WIDTH + LEFT) / 2:.1f}" y="{HEIGHT - 3}" text-anchor="middle">step</text>')
    for index, each in enumerate(series):
        strong = running_mean(each.points) if smooth else each.points
        for kind, points in (("raw", each.points if smooth else ()), ("line", strong)):
            if points:
                drawn = _points([place(*point) for point in points])
                parts.append(f'<polyline class="{kind} c{index}" points="{drawn}"/>')
    return "".join([*parts, "</svg>"])


def running_mean(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Each value's mean with its neighbours, over about a tenth of the points."""
    half = max(1, len(points) // 20)
    smooth = []
    for index, (x, _) in enumerate(points):
        near = [y for _, y in points[max(0, index - half) : index + half + 1]]
        smooth.append((x, sum(near) / len(near)))
    return smooth


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """A row of a dot-and-whisker chart: one interval a series, None where there is none."""

    name: str
    intervals: tuple[Interval | None, ...]


def dot_chart(rows: Sequence[Dots], label: str) -> str:
    """Means with their intervals on an axis from 0 to 100 %, one row per metric, one dot a series."""
    left, width = 150, 560
    heights = [ROW * max(1, sum(each is not None for each in row.intervals)) + 10 for row in rows]
    height = sum(heights) + 30
    inner = width - left - 50

    def at(value: float) -> float:
        return left + inner * min(max(value, 0.0), 1.0)

    parts = [_open(width, height, label)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="4" y2="{height - 24}"/>')
        parts.append(f'<text class="axis" x="{at(tick):.1f}" y="{height - 8}" text-anchor="middle">{tick:.0%}</text>')
    top = 4.0
    for row, room in zip(rows, heights, strict=True):
        middle = top + room / 2 + 4
        parts.append(f'<text class="name" x="{left - 14}" y="{middle:.1f}" text-anchor="end">{escape(row.name)}</text>')
        y = top + ROW / 2 + 5
        for index, each in enumerate(row.intervals):
            if each is None or each.mean is None or each.low is None or each.high is None:
                continue
            low, mean, high = (at(value) for value in (each.low, each.mean, each.high))
            parts.append(
                f'<line class="whisker c{index}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<circle class="dot c{index}" cx="{mean:.1f}" cy="{y:.1f}" r="5"/>'
                f'<text class="axis" x="{high + 8:.1f}" y="{y + 3.5:.1f}">{100 * each.mean:.1f}</text>'
            )
            y += ROW
        top += room
    return "".join([*parts, "</svg>"])


def ticks(low: float, high: float) -> tuple[float, float, float]:
    """A round axis that holds both ends: its ends and the distance of its ticks (four to seven of them)."""
    span = (high - low) or 1.0
    raw = span / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    return math.floor(low / step) * step, math.ceil((high or step) / step) * step, step


def _open(width: int, height: float, label: str) -> str:
    text = escape(label)
    return f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{text}"><title>{text}</title>'


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
