"""Metadata that the UI shows as pictures, as Markdown with the pictures inside."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg

from tracer import json_lines
from tracer.config import Config

FEW = 4
CURVES = ("reward", "dead_groups", "unparsable")


def markdown(parts: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Parts of Markdown as one piece of metadata."""
    return dg.MetadataValue.md("\n\n".join(parts) or "nothing to show")


def png(picture: bytes, alt: str) -> str:
    """A picture of any format, as Markdown."""
    from PIL import Image

    from tracer.reporting.gallery import data_uri

    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as opened:
        opened.convert("RGB").save(out, "PNG", optimize=True)
    return f"![{alt}]({data_uri(out.getvalue(), 'image/png')})"


def screens(folder: Path) -> dg.MarkdownMetadataValue:
    """The first screen of a few trajectories, each of another task."""
    from tracer.dataset import read

    parts: dict[str, str] = {}
    for trajectory in read(folder):
        picture = trajectory.steps[0].image
        if trajectory.task not in parts and picture is not None:
            shown = png(picture, trajectory.task)
            parts[trajectory.task] = f"**{trajectory.task}**: {trajectory.goal[:200]}\n\n{shown}"
        if len(parts) == FEW:
            break
    return markdown(parts.values())


def curves(folder: Path) -> dg.MarkdownMetadataValue:
    """The reward of every step, and the shares of dead groups and unparsable forecasts."""
    from matplotlib.figure import Figure

    rows = json_lines.read(folder / "metrics.jsonl")
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot(xlabel="optimizer step")
    for name in CURVES:
        axes.plot(range(1, len(rows) + 1), [float(row.get(name, "nan")) for row in rows], label=name.replace("_", " "))
    axes.legend()
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return markdown([png(out.getvalue(), "reward curve")])


def rollouts(folder: Path) -> dg.MarkdownMetadataValue:
    """A few of the last rollouts: the screen, the answer, its reward."""
    files = sorted((folder / "samples").glob("*.jsonl"))
    rows = json_lines.read(files[-1])[:FEW] if files else []
    return markdown(_rollout(folder / "samples", row) for row in rows)


def _rollout(folder: Path, row: dict[str, Any]) -> str:
    shown = png((folder / row["picture"]).read_bytes(), row["trajectory"]) if row["picture"] else ""
    head = f"step {row['step']}, reward {row['reward']:.3f}: {row['goal'][:200]}"
    return f"{head}\n\n{shown}\n\n```\n{row['answer'][:600]}\n```"


def forecasts(config: Config, trajectories: Path, evaluation: Path) -> dg.MarkdownMetadataValue:
    """A few forecasts drawn on the screens they were made for, chosen by the seed."""
    from tracer.reporting.gallery import gallery

    shown = gallery(config, trajectories, {evaluation.name: evaluation}, FEW)
    return markdown(
        f"**{'right' if picture.right else 'wrong'}**, {each.task}: {each.goal[:200]}\n\n![{each.task}]({picture.src})"
        for each in shown
        for picture in each.pictures
    )
