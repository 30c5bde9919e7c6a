"""Statistics against brute force, scipy and theorems."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from interp.stats import (
    auroc,
    bootstrap_counts,
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
