"""Null distributions of paired differences by flipping signs, and corrections for how much was searched. Numpy only.

The null: a prompt's differences are as likely the other way round, all columns of it together. What follows holds for
any distribution that is symmetric about zero, however the columns depend on each other, and with no more than the
prompts being independent of one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from interp.stats import Floats, top_share_mean, top_size

_TOLERANCE = 1e-9
"""Relative: sums of the same numbers in another order count as equal."""


@dataclass(frozen=True)
class SignFlips:
    """`signs`: `[n, flips]` of ±1, a prompt a row. `exact`: these are all 2ⁿ, the observed one (all +1) among them."""

    signs: NDArray[np.int8]
    exact: bool


def sign_flips(n: int, n_flips: int, seed: int = 0) -> SignFlips:
    """All 2ⁿ ways of flipping n prompts where they are no more than `n_flips`, else that many drawn at random.

    One draw serves every column: flips that are common to all keep how the columns depend on each other.
    """
    if n < 63 and 2**n <= n_flips:
        codes = np.arange(2**n)[None] >> np.arange(n)[:, None]
        return SignFlips((1 - 2 * (codes & 1)).astype(np.int8), exact=True)
    drawn = np.random.default_rng(seed).integers(0, 2, size=(n, n_flips), dtype=np.int8)
    return SignFlips((2 * drawn - 1).astype(np.int8), exact=False)


def flipped_means(values: Floats, flips: SignFlips) -> Floats:
    """The mean of each column of `[n, columns]` under each flip: `[flips, columns]`."""
    means: Floats = flips.signs.T.astype(float) @ values / len(values)
    return means


def flipped_tops(values: Floats, flips: SignFlips, share: float) -> Floats:
    """`top_share_mean` of each column of `[n, columns]` under each flip: `[flips, columns]`."""
    tops = [_flipped_top(np.ascontiguousarray(column), flips.signs, share) for column in values.T]
    return np.stack(tops, axis=1) if tops else np.empty((flips.signs.shape[1], 0))


def _flipped_top(values: Floats, signs: NDArray[np.int8], share: float) -> Floats:
    """Under a flip the largest values are the first k, in order of size, that came out positive.

    About 2k of them have to be looked at; the rare flips that need more are sorted in full.
    """
    n, k = len(values), top_size(len(values), share)
    looked = min(n, 2 * k + round(8 * sqrt(2 * k)))
    order = np.argsort(-np.abs(values), kind="stable")[:looked]
    positive = signs[order] * np.sign(values[order]).astype(np.int8)[:, None] >= 0
    taken = positive & (np.cumsum(positive, axis=0, dtype=np.int16) <= k)
    tops: Floats = np.abs(values[order]) @ taken.astype(float) / k
    short = np.flatnonzero(taken.sum(axis=0, dtype=np.int16) < k)
    if len(short):
        tops[short] = top_share_mean(values * signs[:, short].T, share)
    return tops


def permutation_p(observed: Floats, null: Floats, exact: bool) -> Floats:
    """One-sided p of each column: how often the null `[flips, columns]` reaches `observed` `[columns]`.

    (count + 1) / (flips + 1) for random flips, which is never zero and never too small (Phipson & Smyth 2010, eq. 2);
    count / flips where the flips are all that there are. Pass absolute values for two sides.
    """
    return _share_of(np.sum(null >= _a_little_less(observed), axis=0), len(null), exact)


def max_adjusted_p(observed: Floats, null: Floats, exact: bool) -> Floats:
    """p of each column, corrected for having searched all of them: how often the largest of the null reaches it.

    The single-step maxT of Westfall & Young (1993), under flips that all columns share: the chance of any false find
    stays below p whatever their dependence. Columns should be on one scale (in standard deviations).
    """
    largest = np.sort(null.max(axis=1))
    reaching = len(largest) - np.searchsorted(largest, _a_little_less(observed), side="left")
    return _share_of(reaching, len(null), exact)


@dataclass(frozen=True)
class Combined:
    """One statistic made of several, larger is further out: `observed` `[columns]`, `null` `[flips, columns]`."""

    observed: Floats
    null: Floats


def furthest(observed: Sequence[Floats], null: Sequence[Floats]) -> Combined:
    """The largest of several statistics of the same columns, each in standard deviations of its own flips.

    A mean finds what moves many prompts, a top mean what moves few; the largest of the two finds either, and its p,
    taken under the same flips, pays for having looked twice. The observed value takes part in its own standardisation,
    so that it stays exchangeable with the flipped ones.
    """
    scaled = [_standardised(np.vstack([of_data, of_flips])) for of_data, of_flips in zip(observed, null, strict=True)]
    largest = np.maximum.reduce(scaled)
    return Combined(largest[0], largest[1:])


def _standardised(values: Floats) -> Floats:
    spread = values.std(axis=0)
    scaled: Floats = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def _a_little_less(observed: Floats) -> Floats:
    lower: Floats = observed - _TOLERANCE * np.abs(observed)
    return lower


def _share_of(count: NDArray[np.int64], flips: int, exact: bool) -> Floats:
    share: Floats = count / flips if exact else (count + 1) / (flips + 1)
    return share


def benjamini_hochberg(p: Floats) -> Floats:
    """The false discovery rate q of each p of a table of any shape (Benjamini & Hochberg 1995).

    Flagging all q ≤ α keeps the expected share of false ones among the flagged below α, for independent and for
    positively dependent p. NaN stands for nothing tested: it stays, and does not count.
    """
    q = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    tested = p[known]
    order = np.argsort(tested)[::-1]
    stepped = np.minimum.accumulate(tested[order] * len(tested) / np.arange(len(tested), 0, -1))
    adjusted = np.empty(len(tested))
    adjusted[order] = stepped
    q[known] = adjusted
    return q


def decoy_q(values: Floats, flipped: Floats) -> Floats:
    """The false discovery rate of listing each of `[n]` values and all above it, from what each is when flipped.

    Of a value and its flipped twin the larger competes. Under the null either is as likely to be it, so above any
    threshold as many false values win as twins do: q = (1 + twins that reach it) / values that reach it, made monotone
    (the target-decoy estimate with the +1 of Barber & Candès 2015, which keeps the expected share of false ones below
    q). 1 for a value that its own twin exceeds. Needs no more than that the signs of the null are fair and independent.
    """
    wins = values > flipped
    strength = np.maximum(values, flipped)
    order = np.argsort(-strength, kind="stable")
    n_wins, n_twins = np.cumsum(wins[order]), np.cumsum(~wins[order])
    last = np.searchsorted(-strength[order], -strength[order], side="right") - 1  # ties are listed together
    rates = ((1 + n_twins) / np.maximum(n_wins, 1))[last]
    q = np.empty(len(values))
    q[order] = np.minimum(np.minimum.accumulate(rates[::-1])[::-1], 1.0)
    return np.where(wins, q, 1.0)


def empirical_p(values: Floats, null: Floats) -> Floats:
    """Where each value would stand among a sample of null values: (1 + those at or above it) / (1 + all of them).

    NaN where there is no null.
    """
    if not null.size:
        return np.full(values.shape, np.nan)
    ordered = np.sort(null, axis=None)
    at_or_above = ordered.size - np.searchsorted(ordered, values, side="left")
    p: Floats = np.where(np.isnan(values), np.nan, (1 + at_or_above) / (1 + ordered.size))
    return p
