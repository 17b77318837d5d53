"""OSWorld-Verified: 361 desktop tasks, scored from the result folder its own runner writes.

Scores may be fractional; a task without a result counts 0. FAIL earns 1 on the 30 infeasible tasks and 0 on all others,
which the runner's evaluator decides. Figures from before the Verified release (July 2025) are another benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tracer.scoring.contract import BenchmarkError, Outcome, Part, PredictionRow, Row, Unparsable
from tracer.scoring.protocol import BenchmarkProtocol

RESULT, TRAJECTORY = "result.txt", "traj.jsonl"


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
    native: Ending | None = None


class Scorer:
    """Outcomes of OSWorld tasks."""

    item_model: ClassVar[type[Row]] = Item
    prediction_model: ClassVar[type[PredictionRow]] = Prediction

    def __init__(self, protocol: BenchmarkProtocol) -> None:
        if protocol.match != {"rule": "evaluator"}:
            raise BenchmarkError(f"{protocol.id}: OSWorld has one rule, evaluator")
        self.max_steps = protocol.decoding.max_steps

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one task. Raises ``Unparsable``."""
        score = 0.0
        if prediction is not None:
            if prediction.native is None:
                raise Unparsable("native is needed: the evaluator's score")
            steps = prediction.native.steps
            if self.max_steps is not None and steps is not None and steps > self.max_steps:
                raise Unparsable(f"{steps} steps under a protocol of {self.max_steps}")
            score = prediction.native.score
        kind = "infeasible" if item.infeasible else "feasible"
        return Outcome(parts={"success": (score, 1)}, cluster=item.id, groups=(f"domain={item.domain}", f"kind={kind}"))


def own_items(protocol: BenchmarkProtocol) -> Iterator[dict[str, Any]]:
    """The 361 tasks of ``test_nogdrive.json``."""
    text = (resources.files("tracer.benchmarks") / "items" / "osworld.jsonl").read_text()
    return (json.loads(line) for line in text.splitlines())


def results(folder: Path, protocol: BenchmarkProtocol) -> Iterator[dict[str, Any]]:
    """The predictions of a result folder: ``.../<domain>/<task id>/result.txt``.

    A task's folder without a result is an unfinished task; a result that is no number a crashed one.
    """
    folders = sorted({path.parent for name in (RESULT, TRAJECTORY) for path in folder.rglob(name)})
    if not folders:
        raise BenchmarkError(f"{folder} holds no <domain>/<task>/{RESULT}; name the results folder of OSWorld's runner")
    for task in folders:
        yield {"id": f"{task.parent.name}/{task.name}", **_ending(task)}


def _ending(task: Path) -> dict[str, Any]:
    path = task / RESULT
    if not path.is_file():
        return {"error": f"no {RESULT}: the task was not finished"}
    text = path.read_text().strip()
    try:
        score = {"True": 1.0, "False": 0.0}[text] if text in ("True", "False") else float(text)
    except ValueError:
        return {"error": f"{RESULT} holds {text[:80]!r}, which is no number"}
    if not 0 <= score <= 1:
        return {"error": f"{RESULT} holds {text[:80]!r}, which is no score in [0, 1]"}
    return {"native": {"score": score}}
