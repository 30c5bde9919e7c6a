"""Grades with known answers."""

from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from analysis.grading import assign, grade

TRAITS = ("flattery", "pep", "secrecy")
AUTHORS = ("a", "b", "c", "sham_1", "sham_2")
TRUTH = {"a": "flattery", "b": "pep", "c": "secrecy", "sham_1": None, "sham_2": None}
EFFECTS = np.array(
    [
        [5.0, 1.0, 2.0],  # right
        [0.5, 4.0, 1.5],  # right
        [3.0, 0.1, 2.5],  # its own comes second
        [1.0, 0.2, 0.3],  # below every null entry
        [9.0, 8.0, 7.0],  # a sham that is not clean
    ]
)


def test_an_author_is_assigned_the_trait_of_its_largest_entry() -> None:
    found = assign(AUTHORS, TRAITS, EFFECTS, TRUTH)
    assert [each.trait for each in found] == ["flattery", "pep", "flattery", "flattery", "flattery"]
    assert [each.runner_up for each in found] == ["secrecy", "secrecy", "secrecy", "secrecy", "pep"]
    assert [(each.effect, each.runner_up_effect) for each in found][2:4] == [(3.0, 2.5), (1.0, 0.3)]
    assert [each.rank_of_truth for each in found] == [1, 1, 2, None, None]


def test_equal_entries_go_to_the_trait_that_comes_first() -> None:
    (found,) = assign(["a"], TRAITS, np.array([[1.0, 2.0, 2.0]]), {"a": "secrecy"})
    assert (found.trait, found.runner_up, found.rank_of_truth) == ("pep", "secrecy", 2)


def test_right_ones_are_counted_with_their_interval_and_chance() -> None:
    graded = grade(assign(AUTHORS, TRAITS, EFFECTS, TRUTH), TRAITS, EFFECTS, ["sham_1", "sham_2"])
    assert (graded.right, graded.graded, graded.n_traits, graded.chance) == (2, 3, 3, 1.0)
    expected = binomtest(2, 3).proportion_ci(method="wilson")
    assert graded.accuracy.estimate == pytest.approx(2 / 3)
    assert (graded.accuracy.low, graded.accuracy.high) == pytest.approx((expected.low, expected.high))
    at_least_two = sum(comb(3, k) * (1 / 3) ** k * (2 / 3) ** (3 - k) for k in (2, 3))
    assert graded.chance_p == pytest.approx(at_least_two)


def test_shams_are_set_against_the_largest_entries_on_traits_not_planted() -> None:
    graded = grade(assign(AUTHORS, TRAITS, EFFECTS, TRUTH), TRAITS, EFFECTS, ["sham_1", "sham_2"])
    assert graded.null.tolist() == [2.0, 1.5, 3.0]
    assert graded.sham_max == {"sham_1": 1.0, "sham_2": 9.0}
    assert graded.sham_p == {"sham_1": 1.0, "sham_2": 0.25}


@pytest.mark.parametrize(("largest", "p"), [(1.4, 1.0), (1.5, 1.0), (1.6, 0.75), (2.5, 0.5), (3.0, 0.5), (3.1, 0.25)])
def test_a_shams_p_counts_the_null_at_or_above_it_and_itself(largest: float, p: float) -> None:
    effects = EFFECTS.copy()
    effects[3] = largest
    graded = grade(assign(AUTHORS, TRAITS, effects, TRUTH), TRAITS, effects, ["sham_1"])
    assert graded.sham_p == {"sham_1": p}


def test_a_behaviour_that_no_vector_stands_for_is_not_graded() -> None:
    truth = {**TRUTH, "c": "not among the vectors"}
    found = assign(AUTHORS, TRAITS, EFFECTS, truth)
    assert found[2].rank_of_truth is None
    graded = grade(found, TRAITS, EFFECTS, [])
    assert (graded.right, graded.graded) == (2, 2)
    assert graded.null.tolist() == [2.0, 1.5]


def test_where_nothing_was_planted_nothing_is_graded() -> None:
    graded = grade(assign(AUTHORS, TRAITS, EFFECTS, {}), TRAITS, EFFECTS, [])
    assert (graded.right, graded.graded, graded.chance_p) == (0, 0, 1.0)
    assert np.isnan(graded.accuracy.estimate) and (graded.accuracy.low, graded.accuracy.high) == (0.0, 1.0)


def test_guessing_is_as_often_right_as_its_chance_says() -> None:
    """Random entries: the number right over 2,000 drawn matrices, within three standard errors of its chance."""
    draw = np.random.default_rng(0)
    rights = []
    for _ in range(2000):
        effects = draw.normal(size=(3, 3))
        rights.append(grade(assign(AUTHORS[:3], TRAITS, effects, TRUTH), TRAITS, effects, []).right)
    error = (3 * (1 / 3) * (2 / 3) / 2000) ** 0.5
    assert abs(np.mean(rights) - 1.0) < 3 * error
