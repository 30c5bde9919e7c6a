"""Statistics of scores: means of the largest, proportions, separation, distance from others. Numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Interval:
    """A point estimate and the ends of its interval."""

    estimate: float
    low: float
    high: float


def auroc(positive: Floats, negative: Floats) -> float:
    """The chance that a positive scores above a negative, ties counting half (Mann-Whitney U over the pairs)."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))
    n_positive, n_negative = len(positive), len(negative)
    u = ranks[:n_positive].sum() - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


def bootstrap_counts(n: int, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each of n clusters is drawn in each resample: `[n_resamples, n]`.

    A cluster is a prompt: its scores stay together on whatever they are measured, so rows that share prompts share
    these counts.
    """
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples)


def top_share_mean(values: Floats, share: float) -> Floats:
    """Mean of the largest `share` of the last axis (at least one entry): what a triggered behaviour moves."""
    k = top_size(values.shape[-1], share)
    top: Floats = np.sort(values, axis=-1)[..., -k:].mean(axis=-1)
    return top


def top_size(n: int, share: float) -> int:
    """How many of n the largest `share` is."""
    return max(1, round(n * share))


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """A proportion with its Wilson score interval (Wilson 1927); (0, 1) when n is 0."""
    from scipy.stats import norm

    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    z, p = float(norm.ppf((1 + level) / 2)), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5 / (1 + z * z / n)
    return Interval(p, max(centre - half, 0.0), min(centre + half, 1.0))


def student_interval(values: Floats, level: float = 0.95) -> Interval:
    """A mean with its t interval, where values are too few for a bootstrap. Of one value it is all numbers."""
    from scipy.stats import t

    mean, n = float(values.mean()), len(values)
    half = float(t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / n**0.5) if n > 1 else float("inf")
    return Interval(mean, mean - half, mean + half)


def robust_z(values: Floats, others: Floats) -> Floats:
    """How far `values` lie from the median of `others` (last axis), in their robust standard deviations.

    1.4826 · MAD estimates the standard deviation of a normal sample and shrugs off a few outliers among the others.
    NaN where most of the others are equal.
    """
    centre = np.median(others, axis=-1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(others - centre), axis=-1, keepdims=True)
    z: Floats = (values - centre[..., 0]) / np.where(spread > 0, spread, np.nan)[..., 0]
    return z
