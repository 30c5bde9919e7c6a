"""Statistics against brute force, theorems, and simulations of what they promise."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from interp.stats import (
    auroc,
    bootstrap_counts,
    bootstrap_mean,
    bootstrap_top_share,
    robust_z,
    top_share_mean,
    top_size,
    wilson,
)
from tests import oracles


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        positive, negative = (draw.integers(0, 6, size=draw.integers(1, 9)).astype(float) for _ in range(2))
        expected = oracles.auroc_by_pairs(positive.tolist(), negative.tolist())
        assert auroc(positive, negative) == pytest.approx(expected)
        assert auroc(negative, positive) == pytest.approx(1 - expected)
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0


def test_bootstrap_mean_estimates_the_mean() -> None:
    values = np.random.default_rng(1).normal(3, 2, size=80)
    interval = bootstrap_mean(values)
    assert interval.estimate == pytest.approx(values.mean())
    normal = 1.96 * values.std() / 80**0.5
    assert interval.low == pytest.approx(values.mean() - normal, abs=0.08)
    assert interval.high == pytest.approx(values.mean() + normal, abs=0.08)
    assert bootstrap_mean(values) == interval != bootstrap_mean(values, seed=1)
    constant = bootstrap_mean(np.full(10, 2.5))
    assert (constant.estimate, constant.low, constant.high) == pytest.approx((2.5, 2.5, 2.5))


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_interval_holds_the_truth_as_often_as_it_says(level: float) -> None:
    """500 samples of 60 skewed differences; within three standard errors and the small-sample loss of the method."""
    draw = np.random.default_rng(2)
    samples = draw.exponential(size=(500, 60)) - draw.exponential(scale=0.5, size=(500, 60))
    intervals = [bootstrap_mean(sample, level, n_resamples=600, seed=seed) for seed, sample in enumerate(samples)]
    covered = float(np.mean([interval.low <= 0.5 <= interval.high for interval in intervals]))
    error = (level * (1 - level) / 500) ** 0.5
    assert level - 3 * error - 0.015 < covered < level + 3 * error


def test_resamples_draw_clusters_with_replacement() -> None:
    counts = bootstrap_counts(30, 4000, seed=0)
    assert counts.shape == (4000, 30) and (counts.sum(axis=1) == 30).all() and counts.min() >= 0
    assert np.allclose(counts.mean(axis=0), 1, atol=0.08)
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 30) ** 30, abs=0.005)
    assert np.array_equal(counts, bootstrap_counts(30, 4000, seed=0))
    assert not np.array_equal(counts, bootstrap_counts(30, 4000, seed=1))


@pytest.mark.parametrize(("n", "share", "k"), [(10, 0.1, 1), (10, 0.3, 3), (3, 0.1, 1), (50, 0.1, 5), (7, 1.0, 7)])
def test_top_share_is_the_mean_of_the_largest(n: int, share: float, k: int) -> None:
    values = np.random.default_rng(n).normal(size=(4, n))
    assert top_size(n, share) == k
    expected = [np.mean(sorted(row.tolist())[-k:]) for row in values]
    assert np.allclose(top_share_mean(values, share), expected)
    assert top_share_mean(values[0], share) == pytest.approx(expected[0])


def test_resampled_top_shares_are_those_of_each_resample_built_out() -> None:
    draw = np.random.default_rng(3)
    for n, share in [(12, 0.25), (30, 0.1), (5, 0.01), (8, 1.0)]:
        values, counts = draw.integers(0, 9, size=n).astype(float), bootstrap_counts(n, 50, seed=n)
        built = [top_share_mean(np.repeat(values, drawn), share) for drawn in counts]
        assert np.allclose(bootstrap_top_share(values, counts, share), built)


@pytest.mark.parametrize(("successes", "n"), [(0, 14), (3, 14), (14, 14), (50, 200)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    expected = scipy_stats.binomtest(successes, n).proportion_ci(0.9, method="wilson")
    interval = wilson(successes, n, 0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval.estimate == successes / n


def test_a_proportion_of_nothing_is_anything() -> None:
    nothing = wilson(0, 0)
    assert np.isnan(nothing.estimate) and (nothing.low, nothing.high) == (0.0, 1.0)


def test_robust_z_is_z_for_normal_samples_and_shrugs_off_outliers() -> None:
    others = np.random.default_rng(4).normal(5, 2, size=(3, 4001))
    z = robust_z(np.array([5.0, 9.0, 1.0]), others)
    assert np.allclose(z, [0, 2, -2], atol=0.15)
    spoilt = others.copy()
    spoilt[:, :100] = 1e6
    assert np.allclose(robust_z(np.array([5.0, 9.0, 1.0]), spoilt), z, atol=0.2)
    plain = (9.0 - spoilt[1].mean()) / spoilt[1].std()
    assert abs(plain - 2) > 1


def test_robust_z_by_hand() -> None:
    assert robust_z(np.array([7.0]), np.array([[1.0, 2.0, 3.0, 4.0, 100.0]]))[0] == pytest.approx(4 / 1.4826)
