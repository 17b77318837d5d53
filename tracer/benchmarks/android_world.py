"""AndroidWorld: 116 task templates on an emulator, scored from the folder its own runner writes.

An episode's reward counts only if the agent said it was done. A crashed episode is NaN there and leaves the mean; here
it scores 0 and is listed, and so does one that never ran; ``success_finished`` leaves them out. The rate is the mean
over templates of their mean.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tracer import json_lines, package_data
from tracer.benchmarks import inert_pickle
from tracer.evaluation.results import RESULTS
from tracer.scoring.contract import Benchmark, BenchmarkError, Outcome, Part, PredictionRow, Row, left_behind

SUFFIX = ".pkl.gz"
SEED = 30
"""The suite's seed in run.py."""


class Item(Row):
    """One instance of a template. ``id`` is ``<template>_<instance>``."""

    template: str
    instance: int = Field(ge=0)
    difficulty: Literal["easy", "medium", "hard"]


class Episode(Part):
    """How an episode ended."""

    score: float = Field(ge=0, le=1)
    """What the task's own checker gave."""
    done: bool
    """Whether the agent said it was done; if not, the score is 0."""
    steps: int | None = Field(default=None, ge=0)


class Prediction(PredictionRow):
    """An episode as the official runner records it."""

    native: Episode | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["checker"]


class AndroidWorld(Benchmark):
    """AndroidWorld episodes."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one episode. Raises ``Unparsable``."""
        score = 0.0
        if prediction is not None:
            episode = prediction.required("the episode's score and whether the agent was done")
            score = episode.score if episode.done else 0.0
        return Outcome(
            parts={"success": (score, 1), "success_finished": (score, prediction is not None)},
            cluster=item.template,
            groups=(f"difficulty={item.difficulty}",),
        )

    def own_items(self) -> Iterator[dict[str, Any]]:
        """The 116 templates of the family ``android_world``, one instance each (run.py's default)."""
        return json_lines.iterate(package_data.path("benchmarks/items/android_world.jsonl"))

    def results(self, folder: Path) -> Iterator[dict[str, Any]]:
        """The predictions of a checkpoint folder (``<template>_<instance>.pkl.gz``, read without unpickling), or of the
        step ``online``: what its first strategy played of the suite of ``SEED``.

        Raises ``BenchmarkError`` for a folder without either; a file that cannot be read is a crashed episode.
        """
        if (folder / RESULTS).is_file():
            yield from _played(folder)
            return
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        if not paths:
            raise BenchmarkError(
                f"{folder} contains no *{SUFFIX} and no {RESULTS}; "
                "name the checkpoint folder that run.py wrote, or that of the step `online`"
            )
        for path in paths:
            yield left_behind(path.name.removesuffix(SUFFIX), partial(_episode, path))


def _played(folder: Path) -> Iterator[dict[str, Any]]:
    rows = [row for row in json_lines.iterate(folder / RESULTS) if row["seed"] == SEED]
    for row in rows:
        if row["strategy"] == rows[0]["strategy"]:
            # An episode whose agent never said that it was done has failed already.
            yield {"id": f"{row['task']}_0", "native": {"score": row["success"], "done": True, "steps": row["steps"]}}


def _episode(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rb") as file:
        episodes = inert_pickle.load(file)  # type: ignore[arg-type]
    good = [episode for episode in episodes if isinstance(episode, Mapping)] if isinstance(episodes, list) else []
    if len(good) != 1:
        return {"error": f"{path.name}: {len(good)} episodes where one is expected"}
    return _ending(good[0])


def _ending(episode: Mapping[str, Any]) -> dict[str, Any]:
    score, raised = episode.get("is_successful"), episode.get("exception_info")
    if raised is not None:
        return {"error": str(raised)[-400:]}
    if isinstance(score, bool) or not isinstance(score, int | float) or math.isnan(score):
        score = float(score) if isinstance(score, bool) else None
    if score is None:
        return {"error": f"is_successful is {episode.get('is_successful')!r:.80}, not a number"}
    length = episode.get("episode_length")
    # The runner has set the score of an episode that was not done to 0 already.
    return {"native": {"score": float(score), "done": True, "steps": length if isinstance(length, int) else None}}
