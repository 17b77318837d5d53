"""Intervals against scipy and against themselves, McNemar against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from tracer.statistics import NOTHING, mcnemar, mean_interval, paired_difference


def test_the_interval_is_scipys_percentile_interval():
    values = np.random.default_rng(1).exponential(size=80)
    ours = mean_interval(values.tolist(), resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)
    assert (ours.n, ours.clusters) == (80, 80)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(300):
        found = mean_interval(rng.normal(size=60).tolist(), resamples=400, seed=trial)
        covered += found.low <= 0 <= found.high
    assert 0.90 <= covered / 300 <= 0.98


def test_clusters_are_resampled_whole():
    # Twenty trajectories of ten equal values carry the information of twenty values, not of two hundred.
    outcomes = np.random.default_rng(4).integers(0, 2, 20).astype(float)
    values, clusters = np.repeat(outcomes, 10).tolist(), np.repeat(np.arange(20), 10).tolist()
    clustered = mean_interval(values, clusters, resamples=4000)
    alone = mean_interval(outcomes.tolist(), resamples=4000)
    naive = mean_interval(values, resamples=4000)
    assert clustered.high - clustered.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert clustered.high - clustered.low > 2.5 * (naive.high - naive.low)
    assert (clustered.n, clustered.clusters) == (200, 20)


def test_clusters_of_different_size_weigh_by_their_size():
    assert mean_interval([1, 1, 1, 0], ["long", "long", "long", "short"], resamples=50).mean == 0.75


def test_one_cluster_has_an_interval_without_width():
    found = mean_interval([1, 0, 0, 1], ["a"] * 4)
    assert (found.mean, found.low, found.high, found.clusters) == (0.5, 0.5, 0.5, 1)


def test_the_draws_are_fixed_by_the_seed():
    # As computed before scipy drew them: the intervals of finished evaluations stay what they are.
    found = mean_interval([1, 0, 1, 1, 0, 1, 0, 0], ["a", "a", "b", "c", "c", "c", "d", "e"], seed=3)
    assert found.to_dict() == {"mean": 0.5, "low": 0.166667, "high": 0.714286, "n": 8, "clusters": 5}


def test_the_same_seed_gives_the_same_interval_and_blocks_do_not_matter(monkeypatch):
    values = np.random.default_rng(5).normal(size=50).tolist()
    whole = mean_interval(values, resamples=500, seed=9)
    assert mean_interval(values, resamples=500, seed=9) == whole
    assert mean_interval(values, resamples=500, seed=10) != whole
    monkeypatch.setattr("tracer.statistics.BLOCK", 50 * 7)
    assert mean_interval(values, resamples=500, seed=9) == whole


def test_no_values_have_no_mean():
    assert mean_interval([]) == NOTHING
    assert NOTHING.to_dict()["mean"] is None
    assert not NOTHING.excludes_zero


@pytest.mark.parametrize("values", [[float("nan")], [1.0, float("inf")]])
def test_what_is_not_scorable_is_no_value(values):
    with pytest.raises(ValueError, match="not finite"):
        mean_interval(values)


def test_values_and_clusters_come_in_pairs():
    with pytest.raises(ValueError, match="2 values, 1 clusters"):
        mean_interval([1.0, 0.0], ["a"])


def test_pairing_removes_what_both_share():
    rng = np.random.default_rng(6)
    hard = rng.normal(scale=10, size=100)
    apart = paired_difference((hard + 0.5).tolist(), hard.tolist())
    assert apart.mean == pytest.approx(0.5)
    assert apart.low == pytest.approx(0.5) and apart.high == pytest.approx(0.5)
    assert apart.excludes_zero
    with pytest.raises(ValueError, match="pairs are needed"):
        paired_difference([1.0], [])


def test_mcnemar_by_hand():
    # Six against one: 2 * (C(7,0) + C(7,1)) / 2^7 = 2 * 8 / 128.
    ours = [True] * 6 + [False] + [True] * 5
    theirs = [False] * 6 + [True] + [True] * 5
    found = mcnemar(ours, theirs)
    assert (found.only_ours, found.only_theirs, found.p) == (6, 1, 0.125)


@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (1, 0), (5, 5), (3, 17), (200, 131), (0, 2000)])
def test_mcnemar_is_scipys_binomial_test(ours, theirs):
    found = mcnemar([True] * ours + [False] * theirs, [False] * ours + [True] * theirs)
    expected = stats.binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0
    assert found.p == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="pairs are needed"):
        mcnemar([True], [])
