"""Two models on the same items under the same protocol: what the promotion gate asks.

Scores of different protocol digests, item sets or item orders are refused: they are different measurements.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.evaluation import results
from tracer.json_files import read_json
from tracer.lineage.digest import LineageError
from tracer.scoring.contract import BenchmarkError, NotGiven
from tracer.scoring.score import RESULTS, SUMMARY
from tracer.statistics import mcnemar, paired_difference


def compare(
    ours: Path, theirs: Path, metric: str | None = None, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The paired difference of a metric between two scores of a benchmark, or two evaluations of the same states.

    By default the metric is the protocol's primary one; of an evaluation, the first step or the success. ``difference``
    is the mean of ours minus theirs over items, with a bootstrap interval over clusters; ``mcnemar`` the exact test
    where every item is right or wrong. Raises ``BenchmarkError`` where the two are not comparable.
    """
    summaries = [read_summary(folder) for folder in (ours, theirs)]
    scored = ["protocol_digest" in summary for summary in summaries]
    if not any(scored):
        return _evaluations(ours, theirs, summaries, metric, resamples)
    if not all(scored):
        raise BenchmarkError(f"of {ours} and {theirs}, one is a benchmark's score, one an evaluation")
    refuse_different(summaries[0], summaries[1], ours, theirs)
    rules = summaries[0]
    name = metric or rules["primary"]
    part = rules["figures"].get(name, {}).get("of") or name
    left, right, clusters = _pairs(ours, theirs, part)
    return {
        "benchmark": rules["benchmark"],
        "protocol": rules["protocol"],
        "protocol_digest": rules["protocol_digest"],
        "metric": name,
        "ours": summaries[0]["figures"].get(name, {}).get("value"),
        "theirs": summaries[1]["figures"].get(name, {}).get("value"),
        "items": len(left),
        **_apart(left, right, clusters, resamples, seed),
    }


def _apart(left: list[float], right: list[float], clusters: list[Any], resamples: int, seed: int = 0) -> dict[str, Any]:
    binary = all(value in (0.0, 1.0) for value in (*left, *right))
    return {
        "difference": paired_difference(left, right, clusters, resamples=resamples, seed=seed).to_dict(),
        "mcnemar": asdict(mcnemar([v == 1 for v in left], [v == 1 for v in right])) if binary else None,
    }


def _evaluations(
    ours: Path, theirs: Path, scores: list[dict[str, Any]], metric: str | None, resamples: int
) -> dict[str, Any]:
    """The differences of two evaluations (tracer/evaluation), by split and, where episodes were played, by agent."""
    for folder, found in zip((ours, theirs), scores, strict=True):
        if "protocol" not in found:
            raise BenchmarkError(f"{folder} has no scores to compare: {found.get('skipped', 'it is no evaluation')}")
    if scores[0]["protocol"] != scores[1]["protocol"]:
        apart = [key for key in {**scores[0]["protocol"], **scores[1]["protocol"]}
                 if scores[0]["protocol"].get(key) != scores[1]["protocol"].get(key)]  # fmt: skip
        raise BenchmarkError(f"{ours} and {theirs} were evaluated differently ({', '.join(apart)}): run both alike")
    name = metric or ("step" if "splits" in scores[0] else "success")
    groups: dict[str, dict[str, Any]] = {}
    left, right = (_by_group(folder) for folder in (ours, theirs))
    for group in left:
        rows = left[group]
        if not all(name in row for row in rows):
            raise NotGiven(f"{ours} has no metric {name!r}")
        try:
            pairs = results.paired(rows, right.get(group, []), name)
        except LineageError as error:
            raise BenchmarkError(f"{ours} and {theirs}, {group}: {error}") from error
        values = [[float(row[name]) for row in side] for side in zip(*pairs, strict=True)] or [[], []]
        clusters = [results.cluster(row) for row, _ in pairs]
        groups[group] = {"items": len(pairs), **_apart(values[0], values[1], clusters, resamples)}
    return {"protocol": scores[0]["protocol"], "metric": name, "groups": groups}


def _by_group(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json_lines.iterate(folder / RESULTS):
        found.setdefault("/".join([*filter(None, [row.get("strategy")]), row["split"]]), []).append(row)
    return found


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a finished score; raises ``NotGiven`` where there is none."""
    path = folder / SUMMARY
    if not path.is_file():
        raise NotGiven(f"{folder} contains no {SUMMARY}: it is not a finished score; run `tracer score` into it")
    summary: dict[str, Any] = read_json(path)
    return summary


def refuse_different(left: dict[str, Any], right: dict[str, Any], ours: Path, theirs: Path) -> None:
    """Raise ``BenchmarkError`` unless both were scored by one protocol digest on one item set."""
    if left["protocol_digest"] != right["protocol_digest"]:
        raise BenchmarkError(
            f"{ours} was scored by {_rules(left)}, {theirs} by {_rules(right)}: "
            f"different protocols are never compared; score both by one"
        )
    if left["items"]["digest"] != right["items"]["digest"]:
        raise BenchmarkError(f"{ours} and {theirs} were scored on different items; score both on one items.jsonl")


def _rules(summary: dict[str, Any]) -> str:
    return f"{summary['protocol']}, version {summary['protocol_version']} ({summary['protocol_digest'][:12]})"


def _pairs(ours: Path, theirs: Path, part: str) -> tuple[list[float], list[float], list[str]]:
    left: list[float] = []
    right: list[float] = []
    clusters: list[str] = []
    rows = (json_lines.iterate(folder / RESULTS) for folder in (ours, theirs))
    for number, (a, b) in enumerate(zip(*rows, strict=True), start=1):
        if a["id"] != b["id"]:
            raise BenchmarkError(f"row {number} is {a['id']!r} in {ours} and {b['id']!r} in {theirs}: different items")
        if part not in a["parts"] or part not in b["parts"]:
            raise NotGiven(f"items of {ours} have no {part!r}; they have {', '.join(a['parts'])}")
        (first, of_first), (second, of_second) = a["parts"][part], b["parts"][part]
        if of_first != of_second:
            raise BenchmarkError(
                f"{part!r} is conditional: whether an item counts depends on its prediction (row {number})"
            )
        if of_first:
            left.append(first / of_first)
            right.append(second / of_second)
            clusters.append(f"{a.get('stratum', '')}/{a['cluster']}")
    return left, right, clusters
