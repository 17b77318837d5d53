"""The traces of online evaluations, as the formats of other viewers take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.action import Action, ActionError
from tracer.evaluation.traces import SCREENS, TRACES, episodes
from tracer.forecast import Forecast, ForecastStep
from tracer.trajectory import State

Row = Mapping[str, Any]
"""An episode as ``evaluation.traces`` keeps it."""


def traced(root: Path) -> Iterator[tuple[Path, Sequence[Row]]]:
    """A run's folders that have traces, or a step's, with their episodes; of two with the same id, the later counts."""
    for path in [root / TRACES, *sorted(root.glob(f"*/{TRACES}"))]:
        if path.is_file():
            yield path.parent.parent, episodes(path.parent.parent)


def name(folder: Path, row: Row) -> str:
    """What names an episode among those of several planners, as a file or a folder."""
    return f"{folder.name}/{row['id']}".replace("/", "-")


def about(row: Row) -> dict[str, Any]:
    """What was played and how it ended."""
    return {key: row[key] for key in ("task", "split", "seed", "success", "reason", "first_wrong")}


def state(folder: Path, row: Row, turn: Row) -> State:
    """What the agent saw in a turn; without the picture where screens are not kept."""
    image = (folder / SCREENS / turn["screen"]).read_bytes() if turn["screen"] else None
    return State(goal=row["goal"], image=image, width=turn["width"], height=turn["height"])


def expected(turn: Row) -> Forecast:
    """What the agent expected in a turn; empty where its answer could not be read."""
    return tuple(forecast_step(each["instruction"], each["action"]) for each in turn["forecast"])


def forecast_step(instruction: str | None, action: Mapping[str, Any]) -> ForecastStep:
    """A step as it is kept. A forecast's may lack what its type requires, such as a place that is not on the screen."""
    try:
        found = Action.from_json(action)
    except ActionError:
        found = Action(action["type"])
    return ForecastStep(action=found, instruction=instruction or found.type)
