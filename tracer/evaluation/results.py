"""Result rows, as the evaluations write them (``results.jsonl``), and their means and paired differences.

An offline row is a state (cases are states, clusters trajectories), an online row is an episode (each its own cluster).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.json_files import read_json
from tracer.lineage.digest import LineageError
from tracer.lineage.step import read_lineage
from tracer.statistics import Interval, mean_interval, paired_difference

RESULTS = "results.jsonl"
SCORES = "scores.json"
Row = Mapping[str, Any]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a finished evaluation, in their order; raises ``LineageError`` for an unfinished one."""
    read_lineage(folder)
    path = folder / RESULTS
    return json_lines.read(path) if path.is_file() else []


def read_scores(folder: Path) -> dict[str, Any]:
    """``scores.json`` of a finished evaluation; of a skipped one ``{"skipped": reason}``. Raises ``LineageError``."""
    read_lineage(folder)
    return dict(read_json(folder / SCORES))


def case(row: Row) -> tuple[Any, ...]:
    """What two planners are paired by: the state, or the episode's page and seed."""
    return (row["trajectory"], row["step_index"]) if "trajectory" in row else (row["task"], row["seed"])


def cluster(row: Row) -> Any:
    """What is resampled together: a trajectory's states, or one episode."""
    return row["trajectory"] if "trajectory" in row else case(row)


def interval(rows: Iterable[Row], metric: str, resamples: int) -> Interval:
    """The mean of a metric over the rows where it is scorable, with its 95 % interval."""
    scorable = [row for row in rows if row[metric] is not None]
    return mean_interval(
        [float(row[metric]) for row in scorable], [cluster(row) for row in scorable], resamples=resamples
    )


def difference(ours: Iterable[Row], theirs: Iterable[Row], metric: str, resamples: int) -> Interval:
    """The mean of ours - theirs over the cases that are scorable for both, with its 95 % interval."""
    pairs = paired(ours, theirs, metric)
    return paired_difference(
        [float(mine[metric]) for mine, _ in pairs],
        [float(other[metric]) for _, other in pairs],
        [cluster(mine) for mine, _ in pairs],
        resamples=resamples,
    )


def paired(ours: Iterable[Row], theirs: Iterable[Row], metric: str) -> list[tuple[Row, Row]]:
    """The rows of the same case, in our order; raises ``LineageError`` where the two sides saw others."""
    mine = {case(row): row for row in ours}
    others = {case(row): row for row in theirs}
    if mine.keys() != others.keys():
        raise LineageError(
            f"the two evaluations saw different cases ({len(mine.keys() ^ others.keys())} are on one side only); "
            "run both with the same data, seed and evaluation settings"
        )
    both = [(row, others[key]) for key, row in mine.items()]
    return [(a, b) for a, b in both if a[metric] is not None and b[metric] is not None]


Count = Callable[[Sequence[Row]], Mapping[str, Any]]


def summary(rows: Sequence[Row], metrics: Sequence[str], resamples: int, count: Count) -> dict[str, Any]:
    """Per split: the metrics' intervals, the counts, and both again for each task."""
    splits: dict[str, Any] = {}
    for split in dict.fromkeys(row["split"] for row in rows):
        chosen = [row for row in rows if row["split"] == split]
        by_task = {task: [row for row in chosen if row["task"] == task] for task in sorted({r["task"] for r in chosen})}
        splits[split] = _block(chosen, metrics, resamples, count) | {
            "tasks": {task: _block(found, metrics, resamples, count) for task, found in by_task.items()}
        }
    return splits


def _block(rows: Sequence[Row], metrics: Sequence[str], resamples: int, count: Count) -> dict[str, Any]:
    return {
        "counts": dict(count(rows)),
        "metrics": {metric: interval(rows, metric, resamples).to_dict() for metric in metrics},
    }
