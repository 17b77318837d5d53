"""OSWorld-Verified: 361 desktop tasks, scored from the result folder its own runner writes.

Scores may be fractional. A task without a result counts 0 in ``success`` and leaves the mean ``success_finished``. FAIL
earns 1 on the 30 infeasible tasks and 0 on all others, which the runner's evaluator decides. Figures from before the
Verified release (July 2025) are another benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tracer import json_lines, package_data
from tracer.environments.osworld_results import RESULT, TRAJECTORY
from tracer.scoring.contract import Benchmark, BenchmarkError, Outcome, Part, PredictionRow, Row, left_behind


class Item(Row):
    """One task. ``id`` is ``<domain>/<task id>``."""

    domain: str
    infeasible: bool


class Ending(Part):
    """How a task ended."""

    score: float = Field(ge=0, le=1)
    """What the evaluator gave."""
    steps: int | None = Field(default=None, ge=0)


class Prediction(PredictionRow):
    """How a task ended, as the official runner records it."""

    native: Ending | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["evaluator"]


class OsWorld(Benchmark):
    """OSWorld tasks."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one task. Raises ``Unparsable``."""
        score = 0.0
        if prediction is not None:
            ending = prediction.required("the evaluator's score")
            self.limit(ending.steps)
            score = ending.score
        kind = "infeasible" if item.infeasible else "feasible"
        return Outcome(
            parts={"success": (score, 1), "success_finished": (score, prediction is not None)},
            cluster=item.id,
            groups=(f"domain={item.domain}", f"kind={kind}"),
        )

    def own_items(self) -> Iterator[dict[str, Any]]:
        """The 361 tasks of ``test_nogdrive.json``."""
        return json_lines.iterate(package_data.path("benchmarks/items/osworld.jsonl"))

    def results(self, folder: Path) -> Iterator[dict[str, Any]]:
        """The predictions of a result folder: ``.../<domain>/<task id>/result.txt``.

        A task's folder without a result is an unfinished task; a result that is not a number a crashed one.
        """
        tasks = sorted({path.parent for name in (RESULT, TRAJECTORY) for path in folder.rglob(name)})
        if not tasks:
            raise BenchmarkError(
                f"{folder} contains no <domain>/<task>/{RESULT}; name the results folder of OSWorld's runner"
            )
        for task in tasks:
            yield left_behind(f"{task.parent.name}/{task.name}", partial(_ending, task))


def _ending(task: Path) -> dict[str, Any]:
    path = task / RESULT
    if not path.is_file():
        return {"error": f"no {RESULT}: the task was not finished"}
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    try:
        score = {"True": 1.0, "False": 0.0}[text] if text in ("True", "False") else float(text)
    except ValueError:
        return {"error": f"{RESULT} holds {text[:80]!r}, which is not a number"}
    if not 0 <= score <= 1:
        return {"error": f"{RESULT} holds {text[:80]!r}, which is not a score in [0, 1]"}
    return {"native": {"score": score}}
