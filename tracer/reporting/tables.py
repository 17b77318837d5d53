"""The tables of results: what each planner scores, and how far apart they are, with paired intervals.

Everything is computed from the ``results.jsonl`` of the evaluations, whose folders are named ``evaluate-<planner>``
and ``online-<planner>`` for the base planner and every stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tracer.evaluation.results import Row, difference, interval, paired, read_rows, read_scores
from tracer.evaluation.scoring import BINARY
from tracer.stages import BASE, PROMISES, STAGES
from tracer.statistics import Interval, McNemar, mcnemar

PLANNERS = {BASE: BASE, **{stage.name: stage.title for stage in STAGES}}
SPLITS = {
    "test": "held-out episodes of trained tasks",
    "heldout": "tasks never trained on",
    "validation": "validation",
}
TITLES = {
    "step": "step success",
    "grounding": "grounding",
    "type": "action type",
    "similarity": "forecast similarity",
    "prefix": "correct prefix (steps)",
    "excess": "repetition beyond the reference's",
    "step_own": "step success, own coordinates",
    "grounding_own": "grounding, own coordinates",
    "parsed": "parsed",
    "cut": "cut short",
}
IN_STEPS = ("prefix",)
"""Metrics that are numbers of steps; all others are shares."""
LOWER_IS_BETTER = ("excess", "cut")
STRATEGIES = {
    "anticipatory": "anticipatory: forecast T, execute one, forecast again",
    "react": "react: forecast one, execute it",
    "blind": "blind: forecast T, execute them all unseen",
    "cot": "cot: forecast T as a plan, then one step at a time with the plan in the prompt",
    "prompted": "prompted: asked in words to forecast, for a model that was not trained to",
    "mcts": "mcts: search over sampled forecasts, execute the first step visited most",
}
SIGNIFICANT = 0.05
PAIRS = tuple(
    dict.fromkeys(
        [
            *((stage.start, stage.name) for stage in STAGES),
            *((promise.over or stage.start, stage.name) for stage, promise in PROMISES),
            (BASE, STAGES[-1].name),
        ]
    )
)
"""The planners that are compared, the better one last: what a stage starts from and the stage, what a promise is over,
and all stages together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much the second planner (or strategy) is above the first on the same cases."""

    interval: Interval
    test: McNemar | None
    """For yes/no metrics."""
    better: bool | None
    """Whether the second is better (False: worse); None where that is not shown: the interval holds zero, or for a
    yes/no metric McNemar's p is 0.05 or more. Few pairs make a bootstrap too sure, clusters make McNemar's test."""

    @property
    def verdict(self) -> str:
        """Whether it shows that the second is better: ``shown``, ``not shown``, or ``reversed``."""
        return {True: "shown", False: "reversed", None: "not shown"}[self.better]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of a table: a metric (or a strategy), each planner's interval, and the differences of ``PAIRS``."""

    key: str
    name: str
    scores: Mapping[str, Interval]
    differences: Mapping[tuple[str, str], Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The lines of one split."""

    split: str
    title: str
    counts: str
    planners: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The planners that are compared in each of its lines."""
        return list(self.lines[0].differences)

    def line(self, key: str) -> Line | None:
        """The line of that key, or None."""
        return next((line for line in self.lines if line.key == key), None)


def evaluated(folders: Mapping[str, Path], kind: Literal["evaluate", "online"]) -> dict[str, Path]:
    """The folders of one kind of evaluation by planner, in the planners' order."""
    return {name: folders[f"{kind}-{name}"] for name in PLANNERS if f"{kind}-{name}" in folders}


def offline_tables(folders: Mapping[str, Path], resamples: int) -> list[Table]:
    """A table a split, of the evaluations present; raises ``LineageError`` where they saw different states."""
    rows = {name: read_rows(path) for name, path in evaluated(folders, "evaluate").items()}
    tables = []
    for split in _splits(rows):
        chosen = {name: [row for row in found if row["split"] == split] for name, found in rows.items()}
        first = next(iter(chosen.values()))
        tables.append(
            Table(
                split=split,
                title=SPLITS[split],
                counts=f"{len(first)} states of {len({row['trajectory'] for row in first})} trajectories",
                planners=tuple(chosen),
                lines=tuple(_line(metric, name, chosen, metric, resamples) for metric, name in TITLES.items()),
            )
        )
    return tables


def online_tables(folders: Mapping[str, Path], resamples: int) -> list[Table]:
    """A table a split of task success, one line per strategy; empty where nothing was played."""
    rows = {name: found for name, path in evaluated(folders, "online").items() if (found := read_rows(path))}
    tables = []
    for split in _splits(rows):
        lines = []
        for strategy in dict.fromkeys(row["strategy"] for found in rows.values() for row in found):
            chosen = {
                planner: [row for row in found if row["split"] == split and row["strategy"] == strategy]
                for planner, found in rows.items()
            }
            lines.append(_line(strategy, STRATEGIES.get(strategy, strategy), chosen, "success", resamples))
        episodes = next(iter(rows.values()))
        played = [row for row in episodes if row["split"] == split and row["strategy"] == lines[0].key]
        pages = len({row["task"] for row in played})
        tables.append(
            Table(
                split=split,
                title=SPLITS[split],
                counts=f"{len(played)} episodes per strategy, on {pages} pages",
                planners=tuple(rows),
                lines=tuple(lines),
            )
        )
    return tables


def strategy_differences(folder: Path, resamples: int) -> dict[str, dict[str, Difference]]:
    """Per split: the first strategy against each other one, by one planner, on the same pages and seeds."""
    rows = read_rows(folder)
    first, *others = dict.fromkeys(row["strategy"] for row in rows) or [""]
    found: dict[str, dict[str, Difference]] = {}
    for split in dict.fromkeys(row["split"] for row in rows):
        by = {name: [r for r in rows if r["split"] == split and r["strategy"] == name] for name in (first, *others)}
        found[split] = {name: compare(by[first], by[name], "success", resamples) for name in others}
    return found


def skipped(folders: Mapping[str, Path]) -> dict[str, str]:
    """The online evaluations that were not run, and why."""
    online = {name: read_scores(path) for name, path in folders.items() if name.startswith("online-")}
    return {name: str(scores["skipped"]) for name, scores in online.items() if "skipped" in scores}


def compare(ours: Sequence[Row], theirs: Sequence[Row], metric: str, resamples: int) -> Difference:
    """Ours against theirs on the same cases; raises ``LineageError`` for different ones."""
    apart = difference(ours, theirs, metric, resamples)
    test = None
    if metric in (*BINARY, "success"):
        pairs = paired(ours, theirs, metric)
        test = mcnemar([mine[metric] > 0 for mine, _ in pairs], [other[metric] > 0 for _, other in pairs])
    better = None
    if apart.excludes_zero and apart.mean is not None and (test is None or test.p < SIGNIFICANT):
        better = (apart.mean < 0) == (metric in LOWER_IS_BETTER)
    return Difference(interval=apart, test=test, better=better)


def _line(key: str, name: str, rows: Mapping[str, Sequence[Row]], metric: str, resamples: int) -> Line:
    return Line(
        key=key,
        name=name,
        scores={planner: interval(found, metric, resamples) for planner, found in rows.items()},
        differences={
            (before, after): compare(rows[after], rows[before], metric, resamples)
            for before, after in PAIRS
            if before in rows and after in rows
        },
    )


def _splits(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    present = {row["split"] for found in rows.values() for row in found}
    return [split for split in SPLITS if split in present]


def number(value: float | None, metric: str) -> str:
    """``61.3`` for a share (in %), ``2.41`` for a number of steps, ``-`` for none."""
    if value is None:
        return "-"
    return f"{value:.2f}" if metric in IN_STEPS else f"{100 * value:.1f}"


def signed(value: float | None, metric: str) -> str:
    """The same with its sign; a difference that rounds to nothing has none."""
    text = number(value, metric)
    if value is None or float(text) == 0:
        return text.removeprefix("-") or "-"
    return text if value < 0 else f"+{text}"


def results_table(folders: Mapping[str, Path], resamples: int = 2000) -> str:
    """The results as plain text for a terminal: shares in %, 95 % intervals in brackets, paired differences."""
    blocks = [_plain(table, "") for table in offline_tables(folders, resamples)]
    blocks += [_plain(table, "online task success, ") for table in online_tables(folders, resamples)]
    blocks += [f"{name}: skipped, {reason}" for name, reason in skipped(folders).items()]
    return "\n\n".join(blocks)


def _plain(table: Table, what: str) -> str:
    header = ["", *(PLANNERS[name] for name in table.planners)]
    header += [f"{PLANNERS[after]} - {PLANNERS[before]}" for before, after in table.pairs]
    body = []
    for line in table.lines:
        metric = "success" if what else line.key
        cells = [line.name.partition(":")[0]]
        cells += [_cell(line.scores[name], metric) for name in table.planners]
        for found in line.differences.values():
            mark = {True: " better", False: " worse", None: ""}[found.better]
            cells.append(_cell(found.interval, metric, sign=True) + mark)
        body.append(cells)
    return "\n".join([f"{what}{table.title} ({table.counts})", *aligned([header, *body])])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in plain text: every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cell(value: Interval, metric: str, sign: bool = False) -> str:
    write = signed if sign else number
    if value.mean is None:
        return "-"
    return f"{write(value.mean, metric)} [{write(value.low, metric)}, {write(value.high, metric)}]"
