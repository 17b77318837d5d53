"""Comparing two planners that were each trained with several seeds, on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracer.evaluation.results import Row, case, cluster, paired
from tracer.statistics import mean_interval, paired_difference

Rows = Sequence[Row]
UNKNOWN: dict[str, Any] = {"variant": None, "baseline": None, "difference": None, "seeds": []}


def difference(ours: Sequence[Rows], theirs: Sequence[Rows], metric: str, resamples: int) -> dict[str, Any]:
    """Means of both sides and of their paired difference, and each seed's own difference. One entry per seed.

    A case's values are first averaged over the seeds, then trajectories (online: episodes) are resampled: so the
    interval is about other cases of this kind for these seeds. What other seeds would do, the seeds' own differences
    tell. Raises ``LineageError`` where the sides saw different cases.
    """
    if not all((*ours, *theirs)):  # a planner that was not played, or not by this agent
        return UNKNOWN
    pairs = [
        {case(a): (float(a[metric]), float(b[metric])) for a, b in paired(mine, others, metric)}
        for mine, others in zip(ours, theirs, strict=True)
    ]
    # A case counts where every seed of both sides can be scored on it: the same cases stand behind every number.
    cases = [each for each in pairs[0] if all(each in pair for pair in pairs)]
    if not cases:
        return UNKNOWN

    def averaged(side: int) -> list[float]:
        return [sum(pair[each][side] for pair in pairs) / len(pairs) for each in cases]

    clusters_of = {case(row): cluster(row) for row in ours[0]}
    clusters = [clusters_of[each] for each in cases]
    seeds = [sum(pair[each][0] - pair[each][1] for each in cases) / len(cases) for pair in pairs]
    return {
        "variant": mean_interval(averaged(0), clusters, resamples=resamples).to_dict(),
        "baseline": mean_interval(averaged(1), clusters, resamples=resamples).to_dict(),
        "difference": paired_difference(averaged(0), averaged(1), clusters, resamples=resamples).to_dict(),
        "seeds": [round(value, 6) for value in seeds],
    }


def verdict(sign: int, found: Mapping[str, Any]) -> str:
    """Whether a claim came out: ``yes`` and ``opposite`` need an interval off zero and all seeds on one side."""
    if found["difference"] is None:
        return "not scorable"
    low, high = found["difference"]["low"], found["difference"]["high"]
    seeds = found["seeds"]
    clear = 1 if low > 0 and min(seeds) > 0 else -1 if high < 0 and max(seeds) < 0 else 0
    if not sign:
        return {1: "more", -1: "less", 0: "no clear difference"}[clear]
    return "not clear" if not clear else "yes" if clear == sign else "opposite"
