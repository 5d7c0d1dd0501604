"""Intervals: against SciPy's tests, and by how often they hold the truth."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import pearsonr, ttest_1samp, ttest_rel

from bestpapers.lab.stats import bootstrap, bootstrap_of, interval, mean_range, paired


def test_over_seeds_it_is_students_t():
    a, b = {3: 0.7, 0: 0.5, 1: 0.65, 2: 0.6}, {0: 0.45, 1: 0.5, 2: 0.61, 3: 0.5}
    want = ttest_1samp(list(a.values()), 0).confidence_interval(0.95)
    assert interval(a.values()) == pytest.approx((0.6125, want.low, want.high))
    want = ttest_rel([a[s] for s in range(4)], [b[s] for s in range(4)]).confidence_interval(0.95)
    assert paired(a, b) == pytest.approx((0.0975, want.low, want.high))
    with pytest.raises(ValueError, match="at least two seeds"):
        interval([0.5])
    with pytest.raises(ValueError, match="not the same"):
        paired(a, {0: 1.0, 1: 1.0})


def clustered(clusters, seed, power=2):
    """Twenty answers from each cluster, which has its own chance of a right one, 1 / (power + 1) in the mean."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(clusters, 1, generator=generator) ** power
    return torch.rand(clusters, 20, generator=generator) < chance


@pytest.mark.parametrize(("clusters", "power"), [(20, 1), (20, 2), (36, 2)])
def test_over_clusters_it_holds_the_truth_about_as_often_as_it_says(clusters, power):
    """Of 500 worlds 475 are expected, with a standard deviation of 5; single answers taken for clusters hold far fewer."""
    inside = single = 0
    for seed in range(500):
        right, truth = clustered(clusters, seed, power), 1 / (power + 1)
        mean, low, high = bootstrap(right, repeats=500)
        assert low < mean < high
        inside += low < truth < high
        if seed < 50:
            _, low, high = bootstrap(right.flatten(), repeats=500)
            single += low < truth < high
    assert 0.92 * 500 <= inside <= 0.98 * 500
    assert single < 0.75 * 50


def test_few_right_answers_make_it_lopsided():
    """Where few clusters are right at all, the upper end is a third farther away than the lower."""
    for seed in range(5):
        mean, low, high = bootstrap(clustered(20, seed, 6))
        assert high - mean > 1.3 * (mean - low)


def test_the_bootstrap_gives_the_same_again_and_the_mean_of_the_values():
    right = clustered(20, 0)
    assert bootstrap(right) == bootstrap(right) == bootstrap(right.tolist())
    assert bootstrap(right) != bootstrap(right, seed=1)
    assert bootstrap(right)[0] == pytest.approx(right.double().mean().item())
    assert all(type(value) is float for value in bootstrap(right))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_clusters_that_are_all_alike_have_no_width_and_no_warning(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bootstrap(np.full((7, 3), value)) == pytest.approx((value, value, value))


@pytest.mark.parametrize(
    "bad", [[], [[]], [0.5], [[0.5, 0.2]], 1.0, np.zeros((3, 3, 3)), [0.1, np.nan], np.zeros((3, 0))]
)
def test_the_bootstrap_refuses_what_has_no_clusters(bad):
    with pytest.raises(ValueError, match="at least two clusters"):
        bootstrap(bad)


@pytest.mark.parametrize("bad", [[0.1, math.nan], [0.1, math.inf]])
def test_what_is_not_finite_has_no_interval(bad):
    for of in (interval, mean_range):
        with pytest.raises(ValueError, match="not finite"):
            of(bad)


def test_mean_and_range():
    assert mean_range([1.0, 4.0, 2.5]) == (2.5, 1.0, 4.0)
    assert mean_range(iter([3])) == (3.0, 3, 3)
    with pytest.raises(ValueError, match="at least one"):
        mean_range([])


def correlation(x, y):
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


def test_of_a_mean_it_is_the_bootstrap_and_of_a_correlation_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60))
    y += x
    assert bootstrap_of(lambda v: v.mean(-1), x) == pytest.approx(bootstrap(x))
    clusters = x.reshape(20, 3)
    assert bootstrap_of(lambda v: v.mean(-1), clusters) == pytest.approx(bootstrap(clusters))
    value, low, high = bootstrap_of(correlation, x, y)
    want = scipy_bootstrap(
        (x, y), lambda a, b, axis: pearsonr(a, b, axis=axis).statistic, paired=True, n_resamples=2000, rng=0
    ).confidence_interval
    assert value == pytest.approx(pearsonr(x, y).statistic)
    assert (low, high) == pytest.approx(want, abs=0.04)


def test_the_interval_of_a_correlation_holds_the_truth_about_as_often_as_it_says():
    """Of 200 worlds 190 are expected, with a standard deviation of 3."""
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, noise = rng.normal(size=(2, 50))
        _, low, high = bootstrap_of(correlation, x, 0.6 * x + 0.8 * noise, repeats=300, seed=seed)
        inside += low < 0.6 < high
    assert 0.9 * 200 <= inside <= 0.99 * 200


def test_paired_differences_share_what_their_rows_share():
    rng = np.random.default_rng(0)
    common, label = rng.normal(size=(2, 80))
    a, b = label + 2 * common, label + 2 * common + 0.5 * rng.normal(size=80)
    value, low, high = bootstrap_of(lambda a, b, y: correlation(a, y) - correlation(b, y), a, b, label)
    _, alone_low, alone_high = bootstrap_of(correlation, a, label)
    assert low < value < high
    assert high - low < 0.5 * (alone_high - alone_low)
    assert bootstrap_of(lambda a, b: correlation(a, b) - correlation(a, b), a, label) == (0, 0, 0)


def test_what_a_statistic_needs():
    x = np.arange(5.0)
    assert bootstrap_of(lambda v: v.mean(-1), x[:2])[0] == 0.5
    for bad in ((), (x, x[:4]), (x[:1],), (np.zeros((2, 2, 2)),), (1.0,)):
        with pytest.raises(ValueError, match="at least two rows"):
            bootstrap_of(correlation, *bad)
    with pytest.raises(ValueError, match="not finite for these rows"), np.errstate(invalid="ignore"):
        bootstrap_of(correlation, x, 0 * x)
    with pytest.raises(ValueError, match="not finite for a draw"), np.errstate(invalid="ignore"):
        bootstrap_of(correlation, x[:3], x[:3] ** 2)
