"""MiniWoB++: whole episodes in real Chromium, judged by the page's own raw outcome.

A success is a raw reward of 1; the reward that decays with time, and the limit of ten seconds, are not used. Items are
a page and a seed. Predictions are episodes that were played: by ``tracer evaluate``, or read from the folder that the
step ``online`` wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tracer import json_lines
from tracer.evaluation.results import RESULTS, SCORES
from tracer.json_files import read_json
from tracer.scoring.contract import (
    Benchmark,
    BenchmarkError,
    Outcome,
    Part,
    PredictionRow,
    Row,
    played_episode,
)


class Item(Row):
    """One episode. ``id`` is ``<page>/<seed>``."""

    page: str
    seed: int = Field(ge=0)


class Played(Part):
    """How an episode went."""

    success: bool
    """Whether the page's raw reward was 1."""
    steps: int = Field(ge=0)


class Prediction(PredictionRow):
    """How an episode went."""

    native: Played | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["raw_reward"]
    strategy: str
    """The agent that plays, or ``demonstrator``: the scripts that recorded the data."""
    pages: list[str] = Field(min_length=1)
    first_seed: int = Field(ge=0)
    episodes: int = Field(gt=0)
    """Episodes a page, with successive seeds."""


class MiniWob(Benchmark):
    """MiniWoB++ episodes."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match
    environment = "miniwob"

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one episode. Raises ``Unparsable``."""
        success, steps = False, 0
        if prediction is not None:
            played = prediction.required("whether the episode succeeded, and its steps")
            success, steps = played.success, played.steps
            self.limit(steps)
        return Outcome(
            parts={"success": (success, 1), "steps": (steps if success else 0, success)},
            cluster=item.id,
            stratum=item.page,
            groups=(f"page={item.page}",),
        )

    def own_items(self) -> Iterator[dict[str, Any]]:
        """The protocol's pages, each with its seeds."""
        for page in self.match.pages:
            for seed in range(self.match.first_seed, self.match.first_seed + self.match.episodes):
                yield {"id": f"{page}/{seed}", "page": page, "seed": seed}

    def results(self, folder: Path) -> Iterator[dict[str, Any]]:
        """The predictions of a folder that the step ``online`` wrote: the protocol's strategy, pages and seeds."""
        path = folder / RESULTS
        if not path.is_file():
            raise BenchmarkError(f"{folder} contains no results.jsonl; name the folder of the step `online`")
        rules = read_json(folder / SCORES, "protocol")["protocol"]
        if rules.get("retries") or rules.get("consistency"):
            raise BenchmarkError(
                f"{folder}: its agents asked again or checked their steps, which {self.protocol.id} does not know; "
                "play with --set evaluation.retries=0 --set evaluation.consistency=false"
            )
        wanted = {item["id"] for item in self.own_items()}
        for row in json_lines.iterate(path):
            played = played_episode(row)
            if row["strategy"] == self.match.strategy and played["id"] in wanted:
                yield played
