"""Intervals against resamples built out, and how often they hold the truth."""

from collections.abc import Callable

import numpy as np
import pytest

from interp.intervals import MIN_TOP, mean_ends, top_ends
from interp.stats import Floats, bootstrap_counts, top_share_mean, top_size

SHARE = 0.1


def top_mean_and_error(values: list[float], k: int) -> tuple[float, float]:
    """A top mean and its standard error by the influence function, in so many words."""
    falling = sorted(values, reverse=True)
    threshold = falling[min(k, len(falling) - 1)]
    over = [max(value - threshold, 0) if rank < k else 0 for rank, value in enumerate(falling)]
    variance = np.mean(np.square(over)) - np.mean(over) ** 2
    return float(np.mean(falling[:k])), float(np.sqrt(variance * len(values)) / k)


@pytest.mark.parametrize(("n", "share"), [(30, 0.1), (50, 0.1), (60, 0.3), (275, 0.1)])
def test_ends_are_those_of_every_resample_built_out(n: int, share: float) -> None:
    values, counts = np.random.default_rng(n).normal(size=(n, 3)), bootstrap_counts(n, 200, seed=1)
    values[:, 2] = np.round(values[:, 2], 1)
    counts[:60] = n * (np.arange(n) == values[:, 0].argmin())  # the smallest, over and over
    found, of_mean, k = top_ends(values, counts, share, 0.9), mean_ends(values, counts, 0.9), top_size(n, share)
    for column in range(3):
        resamples = [np.repeat(values[:, column], drawn).tolist() for drawn in counts]
        top, error = top_mean_and_error(values[:, column].tolist(), k)
        again = [top_mean_and_error(resample, k) for resample in resamples]
        t = [(each - top) / max(its_error, 1e-6 * error) for each, its_error in again]
        assert found.low[column] == pytest.approx(top - np.quantile(t, 0.95) * error)
        assert found.high[column] == pytest.approx(top - np.quantile(t, 0.05) * error)
        means = [np.mean(resample) for resample in resamples]
        expected = np.quantile(means, [0.05, 0.95])
        assert (of_mean.low[column], of_mean.high[column]) == pytest.approx(tuple(expected))


def test_the_standard_error_is_the_spread_of_top_means() -> None:
    rng = np.random.default_rng(0)
    tops = top_share_mean(rng.normal(size=(4000, 400)), SHARE)
    errors = [top_mean_and_error(rng.normal(size=400).tolist(), 40)[1] for _ in range(200)]
    assert np.mean(errors) == pytest.approx(tops.std(), rel=0.05)


def fires(rng: np.random.Generator, share: float, n: int, samples: int) -> Floats:
    """Normal differences that a behaviour moves by six on some prompts."""
    values: Floats = rng.normal(size=(n, samples)) + 6 * (rng.random((n, samples)) < share)
    return values


@pytest.mark.parametrize(
    ("kind", "n", "lowest", "highest"),
    [
        ("normal", 50, 0.91, 0.97),
        ("normal", 275, 0.93, 0.97),
        ("exponential", 100, 0.92, 0.98),
        ("fires on a tenth", 165, 0.92, 0.98),
        ("fires on a twentieth", 165, 0.93, 1.0),
    ],
)
def test_the_interval_of_a_top_mean_holds_the_truth_about_as_often_as_it_says(
    kind: str, n: int, lowest: float, highest: float
) -> None:
    """1,000 samples: three standard errors are 0.02 about the coverage that the docstring of top_ends says."""
    rng = np.random.default_rng(11)
    populations: dict[str, Callable[[int, int], Floats]] = {
        "normal": lambda n, m: rng.normal(size=(n, m)),
        "exponential": lambda n, m: rng.exponential(size=(n, m)),
        "fires on a tenth": lambda n, m: fires(rng, 0.1, n, m),
        "fires on a twentieth": lambda n, m: fires(rng, 0.05, n, m),
    }
    truth = float(top_share_mean(populations[kind](1_000_000, 1).T, SHARE)[0])
    values, counts = populations[kind](n, 1000), bootstrap_counts(n, 999, seed=0)
    found = top_ends(values, counts, SHARE)
    covered = float(((found.low <= truth) & (truth <= found.high)).mean())
    assert lowest <= covered <= highest


def test_a_percentile_interval_would_be_too_narrow() -> None:
    """What is used for means holds a top mean of 50 normal differences in 77% of cases, not in 95."""
    rng = np.random.default_rng(12)
    truth = float(top_share_mean(rng.normal(size=1_000_000), SHARE))
    values, drawn = rng.normal(size=(300, 50)), rng.integers(0, 50, size=(300, 50))
    tops = np.sort([top_share_mean(each[drawn], SHARE) for each in values], axis=1)
    assert np.mean((tops[:, 7] <= truth) & (truth <= tops[:, 292])) < 0.87


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says(level: float) -> None:
    """1,000 samples of 165 skewed differences."""
    rng = np.random.default_rng(2)
    values = rng.exponential(size=(165, 1000)) - rng.exponential(scale=0.5, size=(165, 1000))
    found = mean_ends(values, bootstrap_counts(165, 999, seed=0), level)
    covered = float(((found.low <= 0.5) & (found.high >= 0.5)).mean())
    assert covered == pytest.approx(level, abs=3 * (level * (1 - level) / 1000) ** 0.5 + 0.005)


def test_too_few_values_give_no_interval_and_equal_ones_give_a_point() -> None:
    for n, known in [(10, False), (24, False), (26, True)]:
        values, counts = np.random.default_rng(0).normal(size=(n, 2)), bootstrap_counts(n, 200, seed=0)
        found = top_ends(values, counts, SHARE)
        assert (top_size(n, SHARE) >= MIN_TOP) == known
        assert np.isfinite(found.low).all() == np.isfinite(found.high).all() == known
        equal = top_ends(np.full((n, 1), 2.5), counts, SHARE)
        assert (equal.low[0], equal.high[0]) == pytest.approx((2.5, 2.5))
    assert top_ends(np.empty((30, 0)), bootstrap_counts(30, 5, seed=0), SHARE).low.shape == (0,)


def test_another_scale_or_place_gives_the_same_interval_there() -> None:
    values, counts = np.random.default_rng(4).normal(size=(60, 2)), bootstrap_counts(60, 300, seed=0)
    one, other = top_ends(values, counts, SHARE), top_ends(values * 7 + 3, counts, SHARE)
    np.testing.assert_allclose(other.low, one.low * 7 + 3)
    np.testing.assert_allclose(other.high, one.high * 7 + 3)
