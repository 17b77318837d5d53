"""Long runs: one file per finished item, resumed after a kill, a fixed number at a time, each with a time-out.

A worker that raises or takes too long leaves a prediction with an ``error``: a counted, listed failure. A thread cannot
be killed in Python, so one that is late is left behind, its result ignored and its place taken by a fresh one; too many
of those end the run.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import orjson

from tracer.json_files import write_json
from tracer.progress import bar
from tracer.scoring.contract import BenchmarkError, Worker

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much runs at once, and for how long."""

    batch: int = 1
    """Items given to a worker at once."""
    concurrency: int = 1
    """Batches worked on at the same time."""
    seconds: float = 600.0
    """Time-out of a batch."""
    abandoned: int = 8
    """Late workers after which the run ends."""


@dataclass(slots=True)
class _Job:
    items: Sequence[Row]
    deadline: float = float("inf")
    thread: threading.Thread | None = None


def run(items: Iterable[Row], worker: Worker, folder: Path, predictions: Path, limits: Limits) -> dict[str, int]:
    """Work through the items into ``folder``, then write ``predictions`` in the items' order; return counts.

    An item whose file exists is not worked on again, whatever its outcome: delete the file to try it once more. Raises
    ``BenchmarkError`` when too many workers hang.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = list(items)
    left = [item for item in every if not path_of(folder, item["id"]).is_file()]
    crashed = 0
    with bar("items", len(every), done=len(every) - len(left), shown=bool(left)) as shown:
        for rows in _work(left, worker, folder, limits):
            for row in rows:
                write_json(path_of(folder, row["id"]), row)
            crashed += sum("error" in row for row in rows)
            shown.advance(len(rows), f"{crashed} crashed")
    with open(predictions, "wb") as file:
        for item in every:
            row = json.loads(path_of(folder, item["id"]).read_text())
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return {"items": len(every), "resumed": len(every) - len(left), "crashed": crashed}


def path_of(folder: Path, key: str) -> Path:
    """The file of an item: ids hold slashes and worse, so it is named by their hash."""
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _work(left: list[Row], worker: Worker, folder: Path, limits: Limits) -> Iterator[list[Row]]:
    """The predictions of each batch as it ends."""
    finished: SimpleQueue[tuple[int, list[Row]]] = SimpleQueue()
    waiting = [left[start : start + limits.batch] for start in range(0, len(left), limits.batch)][::-1]
    running: dict[int, _Job] = {}
    number, abandoned = 0, 0
    while waiting or running:
        while waiting and len(running) < limits.concurrency:
            number += 1
            running[number] = _start(number, waiting.pop(), worker, finished, limits.seconds)
        for key, rows in _ended(finished, running):
            del running[key]
            yield rows
        for key in [key for key, job in running.items() if time.monotonic() > job.deadline]:
            job = running.pop(key)
            abandoned += 1
            yield [{"id": item["id"], "error": f"no answer within {limits.seconds:g} seconds"} for item in job.items]
            if abandoned > limits.abandoned:
                raise BenchmarkError(
                    f"{abandoned} workers hang: the model or the environment is down. Everything finished is kept in "
                    f"{folder}; fix it and run again to resume"
                )


def _start(
    number: int, items: Sequence[Row], worker: Worker, finished: SimpleQueue[tuple[int, list[Row]]], seconds: float
) -> _Job:
    def body() -> None:
        finished.put((number, _answers(items, worker)))

    job = _Job(items, time.monotonic() + seconds, threading.Thread(target=body, daemon=True))
    assert job.thread is not None
    job.thread.start()
    return job


def _ended(finished: SimpleQueue[tuple[int, list[Row]]], running: dict[int, _Job]) -> Iterator[tuple[int, list[Row]]]:
    """The batches that ended in the last moment; a late one that was given up already is ignored."""
    try:
        found = [finished.get(timeout=0.05)]
    except Empty:
        return
    while not finished.empty():
        found.append(finished.get())
    yield from ((key, rows) for key, rows in found if key in running)


def _answers(items: Sequence[Row], worker: Worker) -> list[Row]:
    """The predictions of a batch; where the batch raises, its items are tried one by one to find the culprit."""
    started = time.monotonic()
    try:
        rows = list(worker(items))
        if len(rows) != len(items):
            raise BenchmarkError(f"{len(rows)} predictions for {len(items)} items")
    except Exception as error:  # whatever a model or an environment raises fails its items, not the run
        if len(items) > 1:
            return [row for item in items for row in _answers([item], worker)]
        rows = [{"error": f"{type(error).__name__}: {error}"[:400]}]
    seconds = round((time.monotonic() - started) / len(items), 3)
    return [{"id": item["id"], **row, "seconds": seconds} for item, row in zip(items, rows, strict=True)]
