"""Slopes of planted effects, and that the half that chooses a layer is not the one that reports."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from analysis.dose_response import DoseResponse, dose_responses, report_layer
from interp.stats import student_interval
from tests.analysis.steered import STRENGTHS, Slope, planted_steering

LAYERS = (3, 8)


def responses(slope: Slope, n_items: int = 8) -> DoseResponse:
    (found,) = dose_responses(planted_steering("pep", {"mean_difference": "h"}, LAYERS, n_items, slope))
    return found


def test_slopes_are_the_planted_ones() -> None:
    found = responses(lambda _, direction, layer, item: layer + 0.1 * item if direction == "vector" else 0.5)
    assert found.strengths == (-2.0, -0.5, 1.0, 2.0) and found.directions == ("vector", "random-0", "random-1")
    expected = [[layer + 0.1 * item for item in (1, 3, 5, 7)] for layer in LAYERS]
    np.testing.assert_allclose(found.slopes("report")[0], expected)
    np.testing.assert_allclose(found.slopes("report")[1:], 0.5)
    np.testing.assert_allclose(found.slopes("choose")[0][:, 0], LAYERS)
    np.testing.assert_allclose(found.coherence[0, 0], [-0.1 * strength**2 for strength in STRENGTHS if strength])


def test_a_lucky_layer_is_reported_on_texts_that_did_not_choose_it() -> None:
    """Layer 3 works on the texts that choose and on no other; layer 8 a little on all."""
    found = responses(lambda _, d, layer, item: 0.0 if d != "vector" else 0.2 if layer == 8 else 1.0 - item % 2)
    assert LAYERS[found.chosen] == 3 and not found.steers
    assert report_layer(found, found.chosen).slope.estimate == pytest.approx(0)
    other = report_layer(found, 1)
    assert other.slope.estimate == pytest.approx(0.2) and other.coherence == pytest.approx((-0.4, -0.4))


def test_random_directions_choose_their_own_layer_and_count_either_way() -> None:
    """The first does best at layer 8, backwards at layer 3; the second the other way round; on either half alike."""
    slopes = {("random-0", 3): -0.3, ("random-0", 8): 0.2, ("random-1", 3): 0.1, ("random-1", 8): -0.6}
    for own, at_or_above in ((0.7, 0), (0.5, 1), (0.25, 2), (0.15, 3), (0.05, 4)):
        planted = slopes | {("vector", layer): own for layer in LAYERS}
        found = responses(partial(lambda planted, _, direction, layer, __: planted[direction, layer], planted))
        assert sorted(found.null_slopes()) == pytest.approx([0.1, 0.2, 0.3, 0.6])
        assert found.p == pytest.approx((1 + at_or_above) / 5)
    assert report_layer(found, 0).random_largest == pytest.approx(0.3)
    assert report_layer(found, 1).random_spread == pytest.approx(((0.2**2 + 0.6**2) / 2) ** 0.5)


def test_a_slope_that_differs_from_text_to_text_is_not_believed() -> None:
    def slope(_: str, direction: str, __: int, item: int) -> float:
        return (5.0 if item == 7 else 0.1) if direction == "vector" else 0.0

    steering = planted_steering("pep", {"mean_difference": "h"}, LAYERS, 8, slope, n_random=10)
    (found,) = dose_responses(steering)
    result = report_layer(found, 0)
    assert result.slope.estimate > 1 and result.slope.low < 0 and found.p == pytest.approx(1 / 21) and not found.steers


def test_a_random_vector_steers_no_more_often_than_it_claims() -> None:
    """1,000 vectors that are random directions themselves, over six layers, their effect the same on both halves."""
    draw, strengths = np.random.default_rng(0), np.array([-1.0, 1.0])
    low = 0
    for _ in range(1000):
        effect = draw.standard_normal((11, 6, 1)) + 0.1 * draw.standard_normal((11, 6, 10))
        shift = effect[:, :, None] * strengths[:, None]
        directions = ("vector", *(f"random-{index}" for index in range(10)))
        found = DoseResponse("t", "m", directions, tuple(range(6)), (-1.0, 1.0), shift, shift[..., 0])
        low += found.p < 0.05
    assert low / 1000 < 1 / 21 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_interval_is_students() -> None:
    values = np.array([0.3, -0.1, 0.8, 0.5, 0.9])
    found, peer = student_interval(values), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))
    alone = student_interval(values[:1])
    assert (alone.estimate, alone.low, alone.high) == (0.3, -np.inf, np.inf)
