"""Statistics of paired differences: intervals clustered by prompt, effect sizes, separation. Numpy only."""

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


def resampled_means(values: Floats, n_resamples: int, seed: int) -> Floats:
    """Bootstrap means over the last axis, whose entries are the clusters (prompts): `[…, n_resamples]`.

    One prompt's scores stay together whatever they are measured on, so rows that share prompts share resamples.
    """
    n = values.shape[-1]
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples)
    means: Floats = values @ (counts.T / n)
    return means


def bootstrap_mean(values: Floats, level: float = 0.95, n_resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean over clusters with its percentile bootstrap interval (Efron 1979)."""
    low, high = np.quantile(resampled_means(values, n_resamples, seed), [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return Interval(float(values.mean()), float(low), float(high))


def top_share_mean(values: Floats, share: float) -> Floats:
    """Mean of the largest `share` of the last axis (at least one entry): what a triggered behaviour moves."""
    k = max(1, round(values.shape[-1] * share))
    top: Floats = np.sort(values, axis=-1)[..., -k:].mean(axis=-1)
    return top


def robust_z(values: Floats, others: Floats) -> Floats:
    """How far `values` lie from the median of `others` (last axis), in their robust standard deviations.

    1.4826 · MAD estimates the standard deviation of a normal sample and shrugs off a few outliers among the others.
    """
    centre = np.median(others, axis=-1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(others - centre), axis=-1, keepdims=True)
    z: Floats = (values - centre[..., 0]) / np.maximum(spread[..., 0], 1e-12)
    return z
