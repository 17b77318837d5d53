"""Held-out screens with each planner's forecast painted on them, sampled by the seed and not by hand."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.evaluation.offline import selected
from tracer.evaluation.results import Row, case, read_rows
from tracer.evaluation.scoring import correct
from tracer.examples import Example
from tracer.forecast import Forecast
from tracer.grammars.grammar import grammar
from tracer.reporting.links import address
from tracer.reporting.overlay import paint
from tracer.reporting.tables import PLANNERS, evaluated

MAX_SPLITS = ("heldout", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One planner's forecast on one screen."""

    planner: str
    src: str
    """The PNG as a data URI."""
    alt: str
    row: Row
    steps: int
    """Steps of the reference."""
    film: str
    """Where ``tracer view`` shows it."""

    @property
    def right(self) -> bool:
        """Whether the executed first step was right."""
        return bool(self.row["step"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A screen and what each planner forecast on it."""

    task: str
    split: str
    goal: str
    step: int
    pictures: tuple[Picture, ...]


def gallery(config: Config, trajectories: Path, folders: Mapping[str, Path], count: int) -> list[Exhibit]:
    """``count`` states, most of them held out, each with one picture a planner that was evaluated on it.

    Those in which the last planner's first step is wrong come first.
    """
    rows = {name: {case(r): r for r in read_rows(path)} for name, path in evaluated(folders, "evaluate").items()}
    sampled = pick(list(next(iter(rows.values())).values()), count, config.seed)
    exhibits = []
    for split in dict.fromkeys(row["split"] for row in sampled):
        wanted = [case(row) for row in sampled if row["split"] == split]
        found = {each.key: each for each in selected(trajectories, split, wanted, config.planner.horizon)}
        exhibits += [
            exhibit(config, found[key], {name: by_case[key] for name, by_case in rows.items()}) for key in wanted
        ]
    return sorted(exhibits, key=lambda each: each.pictures[-1].right)


def pick(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Rows sampled with the seed: two in three from held-out pages, each page once before any comes twice."""
    order = sorted(rows, key=case)
    random.Random(f"{seed}/gallery").shuffle(order)
    chosen: list[Row] = []
    for split, most in zip(MAX_SPLITS, (count - count // 3, count), strict=True):
        seen: dict[str, int] = {}
        ranked: list[tuple[int, int, Row]] = []
        for row in order:
            if row["split"] == split:
                seen[row["task"]] = seen.get(row["task"], 0) + 1
                ranked.append((seen[row["task"]], len(ranked), row))
        chosen += [row for _, _, row in sorted(ranked, key=lambda entry: entry[:2])[: most - len(chosen)]]
    return chosen


def exhibit(config: Config, found: Example, rows: Mapping[str, Row]) -> Exhibit:
    """One state with the forecasts of every planner drawn on its screen."""
    pictures = []
    for name, row in rows.items():
        forecast = parsed(row["text"], found, config)
        right = correct(forecast or (), found.reference, config.reward, config.grounding.radius)
        png = paint(found.state, forecast, found.reference, right, row["error"])
        pictures.append(
            Picture(
                planner=PLANNERS[name],
                src=data_uri(png, "image/png"),
                alt=f"forecast of {PLANNERS[name]}: " + ("; ".join(row["forecast"]) or "none"),
                row=row,
                film=address("recorded", name, found.trajectory, found.step + 1),
                steps=len(found.reference),
            )
        )
    return Exhibit(task=found.task, split=found.split, goal=found.state.goal, step=found.step, pictures=tuple(pictures))


def parsed(text: str, found: Example, config: Config) -> Forecast | None:
    """The forecast that the evaluation read in an answer: its results keep the text."""
    written = grammar(config.planner.grammar, config.planner.parse)
    return written.read(text, found.state, config.planner.horizon).forecast


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a URI that a page can contain."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def tally(exhibits: Sequence[Exhibit]) -> dict[str, Any]:
    """How many of the last planner's first steps in the gallery are right."""
    last = [exhibit.pictures[-1] for exhibit in exhibits if exhibit.pictures]
    return {"right": sum(picture.right for picture in last), "of": len(last)}
