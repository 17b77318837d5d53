"""Long runs: one file per finished item, resumed after a kill, a fixed number at a time, each with a time-out.

A worker that raises or takes too long gave no answer, and that is no wrong one: a model or an environment may be gone.
Its items are tried again one by one, after the others; if some stay without an answer the run ends in an error that
lists them, nothing is scored, and the next run asks only for these. A thread cannot be killed in Python, so one that is
late is left behind and its result ignored.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.json_files import read_json, write_json
from tracer.progress import bar
from tracer.scoring.contract import BenchmarkError, Worker
from tracer.threads import begun

Row = dict[str, Any]
TRIES = 3
"""How often an item is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much runs at once, and for how long."""

    batch: int = 1
    """Items given to a worker at once."""
    concurrency: int = 1
    """Batches worked on at the same time."""
    seconds: float = 600.0
    """Time-out of a batch."""
    failures: int = 8
    """Batches without an answer, in a row or late, after which the run ends: whoever answers is down."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    items: Sequence[Row]
    deadline: float
    rows: Future[list[Row]]
    """The predictions."""


@dataclass(slots=True)
class _Failures:
    """Which items have no answer yet, and why."""

    limit: int
    tries: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    late: int = 0
    in_a_row: int = 0

    def note(self, items: Sequence[Row], error: BaseException | None, seconds: float) -> list[Row]:
        """The items to be asked again; without an error their batch is late."""
        self.late += error is None
        self.in_a_row += 1
        error = error or TimeoutError(f"no answer within {seconds:g} seconds")
        for item in items:
            self.tries[item["id"]] += 1
            self.reasons[item["id"]] = f"{type(error).__name__}: {error}"[:400]
        return [item for item in items if self.tries[item["id"]] < TRIES]

    @property
    def too_many(self) -> bool:
        """Whether there is no point in asking on."""
        return max(self.late, self.in_a_row) > self.limit


def run(items: Iterable[Row], worker: Worker, folder: Path, predictions: Path, limits: Limits) -> dict[str, int]:
    """Work through the items into ``folder``, then write ``predictions`` in the items' order; return counts.

    An item whose file exists is not worked on again: delete the file to try it once more. Raises ``BenchmarkError``
    where items stay without an answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = list(items)
    left = [item for item in every if not path_of(folder, item["id"]).is_file()]
    failures = _Failures(limits.failures)
    with bar("items", len(every), done=len(every) - len(left), shown=bool(left)) as shown:
        for rows in _work(left, worker, failures, limits):
            for row in rows:
                write_json(path_of(folder, row["id"]), row)
            shown.advance(len(rows), f"{len(failures.reasons)} without an answer")
    if failures.reasons:
        listed = "".join(f"\n  {key}: {why}" for key, why in failures.reasons.items())
        down = "; whoever answers is down, and no more were asked" if failures.too_many else ""
        raise BenchmarkError(
            f"{len(failures.reasons)} items have no answer{down}. Nothing is scored, and what was answered is kept in "
            f"{folder}: fix the cause and run again to ask only for the rest:{listed}"
        )
    json_lines.write(predictions, (read_json(path_of(folder, item["id"]), "id") for item in every))
    return {"items": len(every), "resumed": len(every) - len(left)}


def path_of(folder: Path, key: str) -> Path:
    """The file of an item: ids hold slashes and worse, so it is named by their hash."""
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _work(left: list[Row], worker: Worker, failures: _Failures, limits: Limits) -> Iterator[list[Row]]:
    """The predictions of each batch as it ends; what has none is noted in ``failures``."""
    waiting = deque(left[start : start + limits.batch] for start in range(0, len(left), limits.batch))
    running: list[_Job] = []
    while (waiting or running) and not failures.too_many:
        while waiting and len(running) < limits.concurrency:
            items = waiting.popleft()
            # Whatever a model or an environment raises concerns its items, not the run.
            running.append(_Job(items, time.monotonic() + limits.seconds, begun(partial(_answers, items, worker))))
        ended = wait([job.rows for job in running], timeout=0.05, return_when=FIRST_COMPLETED).done
        for job in [job for job in running if job.rows in ended or time.monotonic() > job.deadline]:
            running.remove(job)
            error = job.rows.exception() if job.rows in ended else None
            if job.rows in ended and error is None:
                failures.in_a_row = 0
                for item in job.items:
                    failures.reasons.pop(item["id"], None)
                yield job.rows.result()
            else:
                waiting.extend([item] for item in failures.note(job.items, error, limits.seconds))


def _answers(items: Sequence[Row], worker: Worker) -> list[Row]:
    """The predictions of a batch."""
    started = time.monotonic()
    rows = list(worker(items))
    if len(rows) != len(items):
        raise BenchmarkError(f"{len(rows)} predictions for {len(items)} items")
    seconds = round((time.monotonic() - started) / len(items), 3)
    return [{"id": item["id"], **row, "seconds": seconds} for item, row in zip(items, rows, strict=True)]
