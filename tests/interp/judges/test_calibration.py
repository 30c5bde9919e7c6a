"""Intervals cover what they say, by simulation; point estimates are the textbook's."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from interp.errors import InputError
from interp.judges.calibration import (
    Counts,
    corrected_rate,
    count,
    kappa,
    true_negative_rate,
    true_positive_rate,
)

RUNS = 2000
SETTINGS = [
    (0.2, 0.9, 0.95, 1000, 100, 100), (0.05, 0.8, 0.97, 2000, 60, 120), (0.5, 0.7, 0.8, 300, 50, 50),
    (0.9, 0.85, 0.9, 500, 100, 30), (0.3, 0.6, 0.7, 5000, 200, 200), (0.0, 0.9, 0.95, 1000, 100, 100),
]  # fmt: skip


def simulated(
    generator: np.random.Generator, rate: float, tpr: float, tnr: float, n_positive: int, n_negative: int
) -> Counts:
    found, passed = int(generator.binomial(n_positive, tpr)), int(generator.binomial(n_negative, tnr))
    return Counts(found, n_positive - found, passed, n_negative - passed)


@pytest.mark.parametrize(("rate", "tpr", "tnr", "n", "n_positive", "n_negative"), SETTINGS)
def test_the_corrected_interval_covers_the_truth_and_the_plain_one_does_not(
    rate: float, tpr: float, tnr: float, n: int, n_positive: int, n_negative: int
) -> None:
    generator = np.random.default_rng(1)
    covered, estimates = 0, []
    for _ in range(RUNS):
        counts = simulated(generator, rate, tpr, tnr, n_positive, n_negative)
        positives = int(generator.binomial(n, rate * tpr + (1 - rate) * (1 - tnr)))
        found = corrected_rate(positives, n, counts)
        covered += found.low <= rate <= found.high
        estimates.append(found.value)
        assert 0 <= found.low <= found.high <= 1 and 0 <= found.value <= 1
    noise = 3 * (0.95 * 0.05 / RUNS) ** 0.5
    assert 0.95 - noise <= covered / RUNS <= 0.99
    assert np.median(estimates) == pytest.approx(rate, abs=0.03)


def test_an_interval_that_takes_the_judge_for_exact_would_be_too_narrow() -> None:
    generator = np.random.default_rng(2)
    rate, tpr, tnr, n = 0.3, 0.6, 0.7, 5000
    covered = 0
    for _ in range(RUNS):
        counts = simulated(generator, rate, tpr, tnr, 200, 200)
        positives = int(generator.binomial(n, rate * tpr + (1 - rate) * (1 - tnr)))
        large = Counts(*(10**6 * each for each in vars(counts).values()))
        found = corrected_rate(positives, n, large)
        covered += found.low <= rate <= found.high
    assert covered / RUNS < 0.6


def test_the_correction_is_that_of_rogan_and_gladen() -> None:
    counts = Counts(true_positives=90, false_negatives=10, true_negatives=160, false_positives=40)
    assert corrected_rate(300, 1000, counts).value == pytest.approx((0.3 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert true_positive_rate(counts).estimate == 0.9 and true_negative_rate(counts).estimate == 0.8
    perfect = corrected_rate(300, 1000, Counts(10**6, 0, 10**6, 0))
    wilson = (0.2724, 0.3291)
    assert perfect.value == pytest.approx(0.3) and (perfect.low, perfect.high) == pytest.approx(wilson, abs=5e-4)


def test_what_lies_outside_is_clipped_and_said_so() -> None:
    counts = Counts(90, 10, 160, 40)
    few, many, between = (corrected_rate(positives, 100, counts) for positives in (5, 99, 40))
    assert (few.value, few.clipped) == (0.0, True) and (many.value, many.clipped) == (1.0, True)
    assert not between.clipped


def test_a_judge_no_better_than_chance_is_refused() -> None:
    with pytest.raises(InputError, match="no better than chance"):
        corrected_rate(30, 100, Counts(50, 50, 50, 50))
    with pytest.raises(InputError, match="labelled ones"):
        corrected_rate(30, 100, Counts(0, 0, 50, 50))


def test_kappa_is_that_of_a_peer_library() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(300) < 0.4
    verdicts = np.where(generator.random(300) < 0.8, labels, ~labels)
    counts = count(labels, verdicts)
    found = kappa(counts)
    assert found.estimate == pytest.approx(cohen_kappa_score(labels, verdicts))
    assert found.low < found.estimate < found.high and counts.n == 300
    assert np.isnan(kappa(Counts(50, 0, 0, 0)).estimate)
