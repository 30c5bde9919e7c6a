"""Confidence intervals of means and of top means, prompts resampled, for many columns at once. Numpy only."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from interp.stats import Floats, top_size

MIN_TOP = 3


@dataclass(frozen=True)
class Ends:
    """The ends of an interval for each column: `[columns]` each."""

    low: Floats
    high: Floats


def mean_ends(values: Floats, counts: NDArray[np.int64], level: float = 0.95) -> Ends:
    """Percentile bootstrap intervals (Efron 1979) of the mean of each column of `[n, columns]`.

    `counts` `[n_resamples, n]` says how often each prompt is drawn: all columns see the same resamples.
    """
    means = counts @ values / len(values)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Ends(low, high)


def top_ends(values: Floats, counts: NDArray[np.int64], share: float, level: float = 0.95) -> Ends:
    """Bootstrap-t intervals of the mean of the largest `share` of each column of `[n, columns]`.

    A percentile interval is too narrow here: few values carry a top mean, and a resample repeats them. So each
    resample's error is measured in its own standard errors (Efron & Tibshirani 1993, ch. 12): (θ* − θ) / s*, whose
    quantiles t give θ − t_high·s to θ − t_low·s, with s from the influence function of a top mean,
    s² = var(max(x − x_(k+1), 0)) · n / k², for the k largest of n.

    Measured coverage of a nominal 95% (2,000 samples each, share 0.1; ± 1%), where a percentile interval has 77, 89, 91
    and 92% for normal differences:

        prompts                          30   50  100  165  275
        normal                           95   95   96   94   95
        Laplace                          94   94   94   95   95
        exponential                      94   94   93   94   95
        Student's t, 3 degrees           94   92   92   93   93
        + 3 SD on a fifth of prompts     95   96   95   94   95
        + 6 SD on a tenth                93   94   96   93   94
        + 6 SD on a twentieth            87   90   98   99   98

    Below 50 prompts the upper end is far out: five values are averaged. NaN where k is below three.
    """
    k = top_size(len(values), share)
    drawn = np.ascontiguousarray(counts.T, dtype=np.int16)
    ends = [_ends_of_top(np.ascontiguousarray(column), drawn, k, level) for column in values.T]
    low, high = np.array(ends).reshape(-1, 2).T
    return Ends(low, high)


def _ends_of_top(values: Floats, drawn: NDArray[np.int16], k: int, level: float) -> Floats:
    order = np.argsort(-values, kind="stable")
    top, error = _top_and_error(values, np.ones((len(values), 1), dtype=np.int16), order, k)
    if not error[0] > 0:
        return np.array([top[0], top[0]])
    if k < MIN_TOP:
        return np.array([np.nan, np.nan])
    tops, errors = _top_and_error(values, drawn, order, k)
    scaled = (tops - top) / np.maximum(errors, 1e-6 * error)
    t_low, t_high = np.quantile(scaled, [(1 - level) / 2, (1 + level) / 2])
    return np.array([top[0] - t_high * error[0], top[0] - t_low * error[0]])


def _top_and_error(
    values: Floats, drawn: NDArray[np.int16], order: NDArray[np.int64], k: int
) -> tuple[Floats, Floats]:
    """The top mean of each resample `drawn` `[n, n_resamples]` and its standard error; `order` has the largest first.

    Walks down the values until k + 1 are drawn, which nearly always happens among the first 2k.
    """
    n = len(values)
    looked = min(n, k + 1 + round(8 * sqrt(k + 1)))
    while drawn[order[:looked]].sum(axis=0).min() < min(k + 1, n) and looked < n:
        looked = min(n, 2 * looked)
    falling, times = values[order[:looked]], drawn[order[:looked]]
    so_far = np.cumsum(times, axis=0, dtype=np.int16)
    taken = np.clip(k - (so_far - times), 0, times).astype(float)
    threshold = falling[np.minimum((so_far < k + 1).sum(axis=0), looked - 1)]
    first, second = falling @ taken, falling**2 @ taken
    above = (first - k * threshold) / n
    squares = (second - 2 * threshold * first + k * threshold**2) / n
    variance = np.maximum(squares - above**2, 0) / n
    return first / k, np.sqrt(variance) * n / k
