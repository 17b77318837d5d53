"""MiniWoB++: whole episodes in real Chromium, judged by the page's own raw outcome.

A success is a raw reward of 1; the reward that decays with time, and the limit of ten seconds, are not used. Items are
a page and a seed. Predictions are episodes that were played: by ``tracer evaluate``, or read from the folder that the
step ``online`` wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tracer.scoring.contract import BenchmarkError, Outcome, Part, PredictionRow, Row, Unparsable
from tracer.scoring.protocol import BenchmarkProtocol


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
    native: Played | None = None


class Match(Part):
    rule: Literal["raw_reward"]
    strategy: Literal["anticipatory", "reactive", "plan_once", "demonstrator"]
    """Which agent plays: all of them act on the same planner but the demonstrators, which are scripts."""
    pages: list[str] = Field(min_length=1)
    first_seed: int = Field(ge=0)
    episodes: int = Field(gt=0)
    """Episodes a page, with successive seeds."""


class Scorer:
    """Outcomes of MiniWoB++ episodes."""

    item_model: ClassVar[type[Row]] = Item
    prediction_model: ClassVar[type[PredictionRow]] = Prediction

    def __init__(self, protocol: BenchmarkProtocol) -> None:
        self.match = Match.model_validate(protocol.match)
        self.max_steps = protocol.decoding.max_steps

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one episode. Raises ``Unparsable``."""
        success, steps = False, 0
        if prediction is not None:
            if prediction.native is None:
                raise Unparsable("native is needed: whether the episode succeeded, and its steps")
            success, steps = prediction.native.success, prediction.native.steps
            if self.max_steps is not None and steps > self.max_steps:
                raise Unparsable(f"{steps} steps under a protocol of {self.max_steps}")
        return Outcome(
            parts={"success": (success, 1), "steps": (steps if success else 0, success)},
            cluster=item.id,
            stratum=item.page,
            groups=(f"page={item.page}",),
        )


def own_items(protocol: BenchmarkProtocol) -> Iterator[dict[str, Any]]:
    """The protocol's pages, each with its seeds."""
    match = Match.model_validate(protocol.match)
    for page in match.pages:
        for seed in range(match.first_seed, match.first_seed + match.episodes):
            yield {"id": f"{page}/{seed}", "page": page, "seed": seed}


def results(folder: Path, protocol: BenchmarkProtocol) -> Iterator[dict[str, Any]]:
    """The predictions of a folder that the step ``online`` wrote: the protocol's strategy, pages and seeds."""
    path = folder / "results.jsonl"
    if not path.is_file():
        raise BenchmarkError(f"{folder} holds no results.jsonl; name the folder of the step `online`")
    match = Match.model_validate(protocol.match)
    wanted = {item["id"] for item in own_items(protocol)}
    with open(path, encoding="utf-8") as file:
        for row in map(json.loads, file):
            key = f"{row['task']}/{row['seed']}"
            if row["strategy"] != match.strategy or key not in wanted:
                continue
            if row["reason"].startswith("crashed"):
                yield {"id": key, "error": row["reason"]}
            else:
                yield {"id": key, "native": {"success": row["success"] == 1, "steps": row["steps"]}}
