"""Means with bootstrap intervals, paired differences and McNemar's exact test. Everything is seeded.

Steps of one trajectory are not independent: wherever several values come from one trajectory, name it as the values'
cluster, and whole trajectories are resampled (the cluster bootstrap; Davison and Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
BLOCK = 2_000_000
"""Draws that are held in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and its percentile bootstrap interval. Of no values there is no mean: None, and n is 0."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int

    def to_dict(self) -> dict[str, Any]:
        """Rounded to six digits, which hides how sums are ordered and nothing else."""
        return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(self).items()}

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


NOTHING = Interval(mean=None, low=None, high=None, n=0, clusters=0)


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The mean of the values and its percentile interval from a bootstrap over clusters (each value its own if None).

    Raises ``ValueError`` where values and clusters differ in number or a value is not finite.
    """
    if not len(values):
        return NOTHING
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite; leave out what is not scorable, and count it")
    sums, counts = _grouped(array, clusters)

    def mean(sums: np.ndarray, counts: np.ndarray, axis: int = -1) -> Any:
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    low, high = percentile_interval(mean, (sums, counts), resamples=resamples, seed=seed, level=level)
    return Interval(mean=float(array.mean()), low=float(low), high=float(high), n=len(array), clusters=len(sums))


def percentile_interval(
    statistic: Callable[..., Any],
    data: Sequence[np.ndarray],
    *,
    resamples: int,
    seed: int,
    level: float = LEVEL,
    vectorized: bool = True,
) -> tuple[Any, Any]:
    """The percentile bootstrap interval of a statistic of paired arrays, whose places are drawn together."""
    from scipy.stats import bootstrap

    if len(data[0]) == 1:  # scipy refuses it, and there is nothing to draw
        return statistic(*data), statistic(*data)
    interval = bootstrap(
        data, statistic, paired=True, vectorized=vectorized, n_resamples=resamples, batch=max(1, BLOCK // len(data[0])),
        confidence_level=level, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return interval.low, interval.high


def paired_difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The mean of ``ours - theirs`` over the same cases, with its interval. Raises ``ValueError``."""
    if len(ours) != len(theirs):
        raise ValueError(f"pairs are needed: {len(ours)} values against {len(theirs)}")
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    return mean_interval(differences.tolist(), clusters, resamples=resamples, seed=seed, level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """The cases that exactly one of two planners got right, and the two-sided p-value."""

    only_ours: int
    only_theirs: int
    p: float


def mcnemar(ours: Sequence[bool], theirs: Sequence[bool]) -> McNemar:
    """McNemar's exact test of paired yes/no outcomes: are the cases on which they differ split evenly?

    The binomial test of one side's share of those cases against 1/2. Raises ``ValueError``.
    """
    from scipy.stats import binomtest

    if len(ours) != len(theirs):
        raise ValueError(f"pairs are needed: {len(ours)} outcomes against {len(theirs)}")
    only_ours = sum(bool(a) and not b for a, b in zip(ours, theirs, strict=True))
    only_theirs = sum(bool(b) and not a for a, b in zip(ours, theirs, strict=True))
    draws = only_ours + only_theirs
    p = float(binomtest(only_ours, draws).pvalue) if draws else 1.0
    return McNemar(only_ours=only_ours, only_theirs=only_theirs, p=p)


def _grouped(values: np.ndarray, clusters: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """Each cluster's sum and number of values."""
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"each value needs its cluster: {len(values)} values, {len(clusters)} clusters")
    numbers: dict[Hashable, int] = {}
    index = np.asarray([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    size = len(numbers)
    return np.bincount(index, weights=values, minlength=size), np.bincount(index, minlength=size).astype(np.float64)
