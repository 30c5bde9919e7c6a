"""AUROC with an interval: its equation, its coverage, and the half that chooses a layer."""

import numpy as np
import pytest
from scipy.stats import norm

from analysis.separation import HALVES, Separated, separation
from interp.stats import Floats


def draw(n: int, shift: float, seed: int, shared: float = 0.0) -> tuple[Floats, Floats]:
    """Normal scores of n questions `shift` apart, a share of whose variance belongs to the question."""
    noise = np.random.default_rng(seed).standard_normal((3, n))
    own = (1 - shared) ** 0.5
    return shared**0.5 * noise[0] + own * noise[1] + shift, shared**0.5 * noise[0] + own * noise[2]


def test_ends_are_where_the_standard_error_reaches_the_estimate() -> None:
    """Newcombe 2006, written out: |A − θ| = z √V(θ)."""
    positive, negative = draw(9, 1.0, seed=1)
    found = separation(positive, negative[:7])
    for end in (found.low, found.high):
        variance = end * (1 - end) / 63 * (1 + 7 * ((1 - end) / (2 - end) + end / (1 + end)))
        assert abs(found.estimate - end) == pytest.approx(1.959964 * variance**0.5, rel=1e-6)
    assert 0 < found.low < found.estimate < found.high < 1


def test_sides_can_be_exchanged_and_a_perfect_separation_is_not_certain() -> None:
    positive, negative = draw(12, 1.0, seed=2)
    found, turned = separation(positive, negative), separation(negative, positive)
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low))
    perfect, larger = (separation(np.ones(n), np.zeros(n)) for n in (6, 60))
    assert perfect.estimate == perfect.high == 1 and 0.5 < perfect.low < 0.8 < larger.low < 1


@pytest.mark.parametrize("true", [0.6, 0.85, 0.95])
@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_coverage_is_what_it_claims(true: float, shared: float) -> None:
    """At least 95% of 1,000 samples within three Monte Carlo errors; more where scores share their question."""
    shift = float(norm.ppf(true)) * 2**0.5
    intervals = [separation(*draw(12, shift, seed, shared)) for seed in range(1000)]
    covered = np.mean([each.low <= true <= each.high for each in intervals])
    assert covered > 0.95 - 3 * (0.95 * 0.05 / 1000) ** 0.5


def test_a_layer_is_chosen_on_one_half_and_ties_go_to_the_wider_gap() -> None:
    """Layer 0 separates the odd questions only, layers 1 and 2 the even ones, layer 2 further."""
    questions = np.arange(12)
    even = questions % 2 == 0
    positive = np.stack([np.where(even, -1.0, 9.0), np.where(even, 2.0, -9.0), np.where(even, 6.0, -9.0)])
    positive = positive + 0.01 * questions
    negative = np.zeros((3, 12)) + 0.02 * questions
    separated = Separated((4, 7, 9), positive, negative)
    assert separated.choose(HALVES["choose"]) == 2 and separated.choose(HALVES["report"]) == 0
    assert separated.at(2, HALVES["choose"]).estimate == 1 and separated.at(2, HALVES["report"]).estimate == 0
    assert separated.at(2).estimate == pytest.approx(0.5)
