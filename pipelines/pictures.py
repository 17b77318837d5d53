"""Metadata that the UI shows as pictures, as Markdown with the pictures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from tracer import json_lines
from tracer.config import Config

FEW = 4
SIZE = (640, 240)
MARGIN = 34
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700")


def image(picture: bytes, alt: str, kind: str = "png") -> str:
    return f"![{alt}](data:image/{kind};base64,{base64.b64encode(picture).decode()})"


def markdown(parts: Iterable[str]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n\n".join(parts) or "nothing to show")


def screens(folder: Path) -> dg.MarkdownMetadataValue:
    """The first screen of a few trajectories, each of another task."""
    from tracer.dataset import read

    parts: dict[str, str] = {}
    for trajectory in read(folder):
        picture = trajectory.steps[0].image
        if trajectory.task not in parts and picture is not None:
            shown = image(png(picture), trajectory.task)
            parts[trajectory.task] = f"**{trajectory.task}**: {trajectory.goal[:200]}\n\n{shown}"
        if len(parts) == FEW:
            break
    return markdown(parts.values())


def png(picture: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as opened:
        opened.convert("RGB").save(out, "PNG", optimize=True)
    return out.getvalue()


def curves(folder: Path) -> dg.MarkdownMetadataValue:
    """The reward of every step, and the shares of dead groups and unparsable forecasts."""
    path = folder / "metrics.jsonl"
    rows = json_lines.read(path) if path.is_file() else []
    series = {name: [row[name] for row in rows if name in row] for name in ("reward", "dead_groups", "unparsable")}
    return markdown([image(plot({name: values for name, values in series.items() if values}), "reward curve")])


def plot(series: dict[str, Sequence[float]]) -> bytes:
    """Lines over their index in one frame, as a PNG."""
    from PIL import Image, ImageDraw

    width, height = SIZE
    canvas = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(canvas)
    every = [value for values in series.values() for value in values] or [0.0]
    low, high = min(0.0, *every), max(1.0, *every)
    longest = max((len(values) for values in series.values()), default=1)

    def place(index: int, value: float) -> tuple[float, float]:
        across = MARGIN + (width - 2 * MARGIN) * index / max(1, longest - 1)
        return across, height - MARGIN - (height - 2 * MARGIN) * (value - low) / (high - low)

    pen.rectangle((MARGIN, MARGIN, width - MARGIN, height - MARGIN), outline="#d0d7de")
    for value in (low, high):
        pen.text((4, place(0, value)[1] - 6), f"{value:.2f}", fill="black")
    pen.text((width - MARGIN - 60, height - MARGIN + 6), f"{longest} steps", fill="black")
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [place(index, value) for index, value in enumerate(values)]
        pen.line(points if len(points) > 1 else points * 2, fill=colour, width=2)
        pen.text((MARGIN + 170 * number, 8), name, fill=colour)
    out = io.BytesIO()
    canvas.save(out, "PNG", optimize=True)
    return out.getvalue()


def rollouts(folder: Path) -> dg.MarkdownMetadataValue:
    """A few of the last rollouts: the screen, the answer, its reward."""
    files = sorted((folder / "samples").glob("*.jsonl"))
    rows = json_lines.read(files[-1])[:FEW] if files else []
    return markdown(_rollout(folder / "samples", row) for row in rows)


def _rollout(folder: Path, row: dict[str, Any]) -> str:
    shown = image(png((folder / row["picture"]).read_bytes()), row["trajectory"]) if row["picture"] else ""
    head = f"step {row['step']}, reward {row['reward']:.3f}: {row['goal'][:200]}"
    return f"{head}\n\n{shown}\n\n```\n{row['answer'][:600]}\n```"


def forecasts(config: Config, trajectories: Path, evaluation: Path) -> dg.MarkdownMetadataValue:
    """Forecasts drawn on the screens they were made for, right and wrong ones."""
    from tracer.evaluation.offline import cases
    from tracer.evaluation.results import read_rows
    from tracer.evaluation.scoring import correct
    from tracer.forecast import ForecastError
    from tracer.grammars.grammar import grammar
    from tracer.reporting.overlay import draw

    rows = read_rows(evaluation)
    shown = [row for row in rows if row["step"] == 1][: FEW // 2] + [row for row in rows if row["step"] != 1][
        : FEW // 2
    ]
    parts = []
    for row in shown:
        wanted = [(row["trajectory"], row["step_index"])]
        case = next(cases(trajectories, row["split"], wanted, config.planner.horizon))
        try:
            forecast = grammar(config.planner.grammar).parse(row["text"], case.state, config.planner.horizon)
        except ForecastError:
            forecast = ()
        right = correct(forecast, case.reference, config.reward, config.grounding.radius)
        drawn = draw(case.state, forecast, case.reference, right, row["error"])
        verdict = "right" if row["step"] == 1 else "wrong"
        parts.append(f"**{verdict}**, {row['task']}: {case.state.goal[:200]}\n\n{image(drawn, row['trajectory'])}")
    return markdown(parts)
