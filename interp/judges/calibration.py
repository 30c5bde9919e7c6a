"""How far a judge can be trusted, from items that people have labelled too, and rates corrected for its errors."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from interp.errors import InputError
from interp.stats import Interval, wilson


@dataclass(frozen=True)
class Counts:
    """Labelled items by what people and the judge said of them."""

    true_positives: int
    false_negatives: int
    true_negatives: int
    false_positives: int

    @property
    def positives(self) -> int:
        """By the people's labels."""
        return self.true_positives + self.false_negatives

    @property
    def negatives(self) -> int:
        """By the people's labels."""
        return self.true_negatives + self.false_positives

    @property
    def n(self) -> int:
        return self.positives + self.negatives


@dataclass(frozen=True)
class Corrected:
    """A rate corrected for judge error. `value` lies in [0, 1]; `clipped`: by itself it would not have."""

    value: float
    low: float
    high: float
    clipped: bool


def count(labels: NDArray[np.bool_], verdicts: NDArray[np.bool_]) -> Counts:
    """`labels` and `verdicts` `[items]`: what people, and what the judge, said."""
    return Counts(
        true_positives=int(np.sum(labels & verdicts)), false_negatives=int(np.sum(labels & ~verdicts)),
        true_negatives=int(np.sum(~labels & ~verdicts)), false_positives=int(np.sum(~labels & verdicts)),
    )  # fmt: skip


def true_positive_rate(counts: Counts, level: float = 0.95) -> Interval:
    """Of what people call positive, the share that the judge does (sensitivity)."""
    return wilson(counts.true_positives, counts.positives, level)


def true_negative_rate(counts: Counts, level: float = 0.95) -> Interval:
    """Of what people call negative, the share that the judge does (specificity)."""
    return wilson(counts.true_negatives, counts.negatives, level)


def kappa(counts: Counts, level: float = 0.95) -> Interval:
    """Agreement beyond chance (Cohen 1960, with his large-sample interval). NaN where both always say one thing."""
    n = counts.n
    agreed = (counts.true_positives + counts.true_negatives) / n
    said_positive = (counts.true_positives + counts.false_positives) / n
    by_chance = said_positive * counts.positives / n + (1 - said_positive) * counts.negatives / n
    if by_chance == 1:
        return Interval(float("nan"), -1.0, 1.0)
    value = (agreed - by_chance) / (1 - by_chance)
    half = _z(level) * sqrt(agreed * (1 - agreed) / n) / (1 - by_chance)
    return Interval(value, max(-1.0, value - half), min(1.0, value + half))


def corrected_rate(positives: int, n: int, counts: Counts, level: float = 0.95) -> Corrected:
    """The rate in `n` judged items, `positives` of them by the judge, that people's labels would have given.

    (p + TNR − 1) / (TPR + TNR − 1) (Rogan & Gladen 1978). The interval is that of Lang & Reiczigel (2014), which adds
    z² to n and two items to each group of labelled ones, shifts the centre for the skewness, and takes in that p, TPR
    and TNR are all estimates. Both are clipped to [0, 1]. Measured coverage of a nominal 95% (4,000 samples each):

        rate, TPR, TNR, items, labelled + and −       covered
        0.00  0.90  0.95   1000   100   100            97.6%
        0.02  0.95  0.99    400    40    40            99.6%
        0.05  0.80  0.97   2000    60   120            96.5%
        0.20  0.90  0.95   1000   100   100            95.2%
        0.30  0.60  0.70   5000   200   200            95.8%
        0.50  0.70  0.80    300    50    50            96.1%
        0.90  0.85  0.90    500   100    30            94.9%

    The labelled items should be a random sample, within positives and within negatives, of what is judged: a judge that
    errs more on one condition than on another needs labels for each.

    Raises:
        InputError: the judge does no better than chance, or a group has no labelled items.
    """
    if not n or not counts.positives or not counts.negatives:
        raise InputError("a correction needs judged items, and labelled ones that are positive and that are negative")
    tpr, tnr = true_positive_rate(counts, level).estimate, true_negative_rate(counts, level).estimate
    if tpr + tnr <= 1:
        raise InputError(
            f"the judge does no better than chance (TPR {tpr:.3f} + TNR {tnr:.3f} ≤ 1), so nothing can be corrected"
        )
    value = (positives / n + tnr - 1) / (tpr + tnr - 1)
    interval = _lang_reiczigel(positives, n, counts, _z(level))
    return Corrected(_clip(value), _clip(interval.low), _clip(interval.high), clipped=not 0 <= value <= 1)


def _lang_reiczigel(positives: int, n: int, counts: Counts, z: float) -> Interval:
    n_p, n_tpr, n_tnr = n + z**2, counts.positives + 2, counts.negatives + 2
    p = (positives + z**2 / 2) / n_p
    tpr, tnr = (counts.true_positives + 1) / n_tpr, (counts.true_negatives + 1) / n_tnr
    slope = tpr + tnr - 1
    if slope <= 0:
        return Interval(float("nan"), 0.0, 1.0)
    rate = (p + tnr - 1) / slope
    of_tpr, of_tnr = tpr * (1 - tpr) / n_tpr, tnr * (1 - tnr) / n_tnr
    shift = 2 * z**2 * (rate * of_tpr - (1 - rate) * of_tnr)
    error = sqrt(p * (1 - p) / n_p + rate**2 * of_tpr + (1 - rate) ** 2 * of_tnr) / slope
    return Interval(rate, rate + shift - z * error, rate + shift + z * error)


def _z(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + level) / 2))


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
