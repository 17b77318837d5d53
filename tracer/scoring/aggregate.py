"""From outcomes to figures: what each metric of a protocol comes to, over everything and by group.

Outcomes arrive one at a time and only sums are kept, a pair of numbers a cluster and metric, so that memory grows with
episodes and not with predictions. A metric is a function of how often each cluster counts; once each is the figure
itself, and drawn with replacement it is a bootstrap resample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy

from tracer.scoring.contract import Outcome
from tracer.scoring.protocol import BenchmarkProtocol, Metric
from tracer.statistics import percentile_interval

EPSILON = 1e-5  # GTA's own guard in its F1 of tool selection


@dataclass
class Tally:
    """The running sums of one score."""

    protocol: BenchmarkProtocol
    items: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """The first failure of each reason."""
    clusters: dict[str, int] = field(default_factory=dict)
    strata: dict[str, int] = field(default_factory=dict)
    _sums: dict[str, list[list[float]]] = field(default_factory=dict)
    _items: list[int] = field(default_factory=list)
    _sizes: list[int | None] = field(default_factory=list)
    _stratum: list[int] = field(default_factory=list)
    _groups: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._hits = any(metric.kind == "hit" for metric in self.protocol.metrics.values())

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.items += 1
        if outcome.reason:
            self.reasons[outcome.reason] += 1
            self.examples.setdefault(outcome.reason, outcome.detail)
        index = self._cluster(outcome)
        self._items[index] += 1
        for name, (numerator, denominator) in outcome.parts.items():
            for key in (name, *([_hit(name, outcome.category)] if self._hits else [])):
                rows = self._sums.setdefault(key, [])
                while len(rows) <= index:
                    rows.append([0.0, 0.0])
                rows[index][0] += numerator
                rows[index][1] += denominator
            for group in outcome.groups:
                sums = self._groups.setdefault(group, {}).setdefault(name, [0.0, 0.0])
                sums[0] += numerator
                sums[1] += denominator

    def _cluster(self, outcome: Outcome) -> int:
        key = f"{outcome.stratum}\0{outcome.cluster}"
        index = self.clusters.setdefault(key, len(self.clusters))
        if index == len(self._items):
            self._items.append(0)
            self._sizes.append(outcome.size)
            self._stratum.append(self.strata.setdefault(outcome.stratum, len(self.strata)))
        return index

    def figures(self) -> dict[str, Figure]:
        """Every metric of the protocol."""
        return {name: Figure(self, name, metric) for name, metric in self.protocol.metrics.items()}

    def groups(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Pooled figures by group: group -> metric -> value, numerator, denominator."""
        return {
            group: {name: _pooled(sums) for name, sums in sorted(metrics.items())}
            for group, metrics in sorted(self._groups.items())
        }


def _hit(name: str, category: str) -> str:
    return f"{name}\0{category}"


def _pooled(sums: list[float]) -> dict[str, float | None]:
    return {"value": sums[0] / sums[1] if sums[1] else None, "numerator": sums[0], "denominator": sums[1]}


class Figure:
    """One metric over the clusters of a tally."""

    def __init__(self, tally: Tally, name: str, metric: Metric) -> None:
        self.name, self.metric = name, metric
        self._stratum = numpy.asarray(tally._stratum, dtype=int)
        self._strata = len(tally.strata)
        self.clusters = len(tally.clusters)
        sources = [metric.precision, metric.recall] if metric.kind == "f1" else [metric.of or name]
        if metric.kind == "hit":
            sources = [key for key in tally._sums if key.startswith(_hit(sources[0], ""))]
        self._sums = [self._array(tally, source) for source in sources]
        sizes = [size if size is not None else items for size, items in zip(tally._sizes, tally._items, strict=True)]
        self._complete = numpy.asarray(sizes, dtype=float) == numpy.asarray(tally._items, dtype=float)
        if metric.padded:
            self._sums[0][:, 1] = numpy.maximum(self._sums[0][:, 1], sizes)

    def _array(self, tally: Tally, name: str) -> Any:
        rows = list(tally._sums.get(name, []))
        rows += [[0.0, 0.0]] * (self.clusters - len(rows))
        return numpy.asarray(rows, dtype=float).reshape(self.clusters, 2)

    @property
    def numerator(self) -> float:
        """The sum of all numerators."""
        return self._totals(numpy.ones(self.clusters))[0]

    @property
    def denominator(self) -> float:
        """The sum of all denominators."""
        return self._totals(numpy.ones(self.clusters))[1]

    @property
    def dropped(self) -> int:
        """Clusters an episode metric leaves out because items of theirs are not among the items scored."""
        return int((~self._complete).sum()) if self.metric.kind in ("episodes", "strata_episodes") else 0

    def value(self, weights: Any = None) -> float | None:
        """The figure where cluster c counts ``weights[c]`` times; None where nothing is in its denominator."""
        weights = numpy.ones(self.clusters) if weights is None else numpy.asarray(weights, dtype=float)
        kind = self.metric.kind
        if kind == "f1":
            return self._f1(weights)
        if kind in ("strata", "strata_episodes"):
            found = []
            for stratum in range(self._strata):
                inside = weights * (self._stratum == stratum)
                found.append(self._episodes(inside) if kind == "strata_episodes" else self._ratio(inside))
            known = [value for value in found if value is not None]
            return sum(known) / len(known) if known else None
        if kind == "episodes":
            return self._episodes(weights)
        return self._macro(weights) if kind == "macro" else self._ratio(weights)

    def _totals(self, weights: Any) -> tuple[float, float]:
        """The numerators' and the denominators' sum, of a ``hit`` metric over the categories with a hit."""
        if self.metric.kind != "hit":
            numerator, denominator = weights @ self._sums[0]
            return float(numerator), float(denominator)
        totals = [weights @ sums for sums in self._sums]
        counted = [(float(numerator), float(denominator)) for numerator, denominator in totals if numerator]
        return sum(numerator for numerator, _ in counted), sum(denominator for _, denominator in counted)

    def _ratio(self, weights: Any) -> float | None:
        numerator, denominator = self._totals(weights)
        return numerator / denominator if denominator else None

    def _macro(self, weights: Any) -> float | None:
        numerator, denominator = self._sums[0][:, 0], self._sums[0][:, 1]
        counted = weights * (denominator > 0)
        total = counted.sum()
        shares = numpy.divide(numerator, denominator, out=numpy.zeros(self.clusters), where=denominator > 0)
        return float((counted * shares).sum() / total) if total else None

    def _episodes(self, weights: Any) -> float | None:
        counted = weights * self._complete
        total = counted.sum()
        right = self._sums[0][:, 0] >= self._sums[0][:, 1]
        if not total:
            return 0.0 if weights.any() else None
        return float((counted * right).sum() / total)

    def _f1(self, weights: Any) -> float | None:
        hits, predicted = weights @ self._sums[0]
        _, reference = weights @ self._sums[1]
        if not reference:
            return 0.0
        precision, recall = hits / (predicted + EPSILON), hits / reference
        return float(2 * precision * recall / (precision + recall + EPSILON))


def as_dict(figure: Figure, interval: tuple[float, float] | None) -> Mapping[str, Any]:
    """The figure as it is stored."""
    stored: dict[str, Any] = {
        "value": figure.value(),
        "kind": figure.metric.kind,
        "of": figure.metric.of or figure.name,
        "numerator": figure.numerator,
        "denominator": figure.denominator,
        "interval": list(interval) if interval else None,
    }
    if figure.dropped:
        stored["dropped_episodes"] = figure.dropped
    return stored


def intervals(
    figures: Mapping[str, Figure], *, resamples: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float] | None]:
    """Percentile bootstrap intervals over clusters, all metrics on the same resamples.

    The draws are those of ``tracer.statistics.mean_interval``, so a metric that is a plain mean gets its interval; the
    others (means of means, episode rates, an F1) are recomputed on each resample. None: undefined in some resample.
    """
    size = max((figure.clusters for figure in figures.values()), default=0)
    if not size:
        return dict.fromkeys(figures)

    def values(drawn: Any) -> Any:
        weights = numpy.bincount(drawn, minlength=size)
        return numpy.asarray([figure.value(weights) for figure in figures.values()], dtype=float)  # None becomes NaN

    bounds = percentile_interval(values, (numpy.arange(size),), resamples=resamples, seed=seed, vectorized=False)
    return {
        name: (float(low), float(high)) if numpy.isfinite([low, high]).all() else None
        for name, low, high in zip(figures, *bounds, strict=True)
    }


def summary(tally: Tally, items_digest: str, resamples: int, seed: int) -> dict[str, Any]:
    """What ``scores.json`` holds."""
    rules, figures = tally.protocol, tally.figures()
    bounds = intervals(figures, resamples=resamples, seed=seed)
    expected = rules.items.count
    return {
        "benchmark": rules.benchmark,
        "protocol": rules.id,
        "protocol_digest": rules.digest,
        "protocol_version": rules.version,
        "strict": rules.strict,
        "primary": rules.primary,
        "items": {
            "set": rules.items.set,
            "digest": items_digest,
            "scored": tally.items,
            "expected": expected,
            "complete": expected is None or tally.items == expected,
        },
        "clusters": len(tally.clusters),
        "failed": dict(sorted(tally.reasons.items())),
        "first_failures": tally.examples,
        "unparsable_share": (tally.reasons["unparsable"] + tally.reasons["malformed"]) / tally.items,
        "figures": {name: as_dict(figure, bounds[name]) for name, figure in figures.items()},
        "groups": tally.groups(),
    }
