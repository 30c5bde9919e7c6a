"""Grades with known answers."""

from itertools import product
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from analysis.detection import Entries
from analysis.differences import Differences, Estimates
from analysis.grading import (
    Assignment,
    Grade,
    ShamCheck,
    assign,
    auroc_of_entries,
    check_shams,
    gradable,
    grade,
    parts,
)
from interp.config import ExperimentConfig, ModelVariant
from interp.stats import Floats
from tests import oracles

TRAITS = ("flattery", "pep", "secrecy")
AUTHORS = ("a", "b", "c", "sham_1", "sham_2")
TRUTH = {"a": "flattery", "b": "pep", "c": "secrecy", "sham_1": None, "sham_2": None}
SHAMS = ("sham_1", "sham_2")
EFFECTS = np.array(
    [
        [5.0, 1.0, 2.0],  # right
        [0.5, 4.0, 1.5],  # right
        [3.0, 0.1, 2.5],  # its own comes second
        [1.0, 0.2, 0.3],  # below every null entry
        [9.0, 8.0, 7.0],  # a sham that is not clean
    ]
)


def table(effects: Floats, threshold: float = 3.5) -> Entries:
    """Entries of which those above a threshold are detected, with other numbers that can be told from each other."""
    authors = AUTHORS[: len(effects)]
    numbers = {name: np.full_like(effects, np.nan) for name in Estimates.__dataclass_fields__}
    p = 1 / (2 + np.abs(effects))
    numbers |= {"top": effects * 2, "sd": np.full_like(effects, 2.0), "p": p, "p_max": p * 1.5}
    numbers |= {"top_low": effects * 2 - 1, "top_high": effects * 2 + 3}
    estimates = Estimates(**numbers)
    columns = tuple((trait, "mean_difference", -1) for trait in TRAITS)
    known = np.full(len(authors), 20)
    found = Differences(authors, columns, estimates, estimates, effects, effects, known, known)
    none = np.full(len(authors), np.nan)
    return Entries(found, True, effects / 10, effects / 20, none, effects > threshold)


def assigned(effects: Floats, truth: dict[str, str | None]) -> list[Assignment]:
    return assign(table(effects), truth)


def graded(effects: Floats, truth: dict[str, str | None]) -> Grade:
    return grade(table(effects), assigned(effects, truth))


def checked(effects: Floats, shams: tuple[str, ...] = SHAMS) -> ShamCheck:
    return check_shams(table(effects), assigned(effects, TRUTH), shams)


def test_an_author_is_assigned_the_trait_of_its_largest_entry() -> None:
    found = assigned(EFFECTS, TRUTH)
    assert [each.trait for each in found] == ["flattery", "pep", "flattery", "flattery", "flattery"]
    assert [each.runner_up for each in found] == ["secrecy", "secrecy", "secrecy", "secrecy", "pep"]
    assert [(each.effect, each.runner_up_effect) for each in found][2:4] == [(3.0, 2.5), (1.0, 0.3)]
    assert [each.rank_of_truth for each in found] == [1, 1, 2, None, None]
    assert [each.detected for each in found] == [True, True, False, False, True]


def test_an_assignment_holds_the_numbers_of_its_entry() -> None:
    first = assigned(EFFECTS, TRUTH)[0]
    assert (first.low, first.high, first.sham_p) == (4.5, 6.5, 0.5), "ends in the effect's units"
    assert (first.p, first.p_max) == (1 / 7, 1.5 / 7)
    p = np.sort((1 / (2 + EFFECTS)).ravel())
    rank = int(np.searchsorted(p, 1 / 7, side="right"))
    assert first.q == pytest.approx(min(p[rank - 1 :] * 15 / np.arange(rank, 16)))


def test_equal_entries_go_to_the_trait_that_comes_first() -> None:
    (found,) = assigned(np.array([[1.0, 2.0, 2.0]]), {"a": "secrecy"})
    assert (found.trait, found.runner_up, found.rank_of_truth) == ("pep", "secrecy", 2)


def test_right_ones_are_counted_with_their_interval_and_chance() -> None:
    found = graded(EFFECTS, TRUTH)
    assert (found.right, found.graded, found.n_traits, found.chance) == (2, 3, 3, 1.0)
    expected = binomtest(2, 3).proportion_ci(method="wilson")
    assert found.accuracy.estimate == pytest.approx(2 / 3)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((expected.low, expected.high))
    at_least_two = sum(comb(3, k) * (1 / 3) ** k * (2 / 3) ** (3 - k) for k in (2, 3))
    assert found.chance_p == pytest.approx(at_least_two)
    assert found.ranks == (1, 1, 2)


def test_detections_are_counted_among_planted_entries_and_among_all_others() -> None:
    """Above 3.5: the first two organisms' own traits, and three entries of the sham that is not clean."""
    found = graded(EFFECTS, TRUTH)
    assert (found.found, found.false, found.n_false) == (2, 3, 12)
    without = grade(table(EFFECTS), assigned(EFFECTS, TRUTH)[:3])
    assert (without.found, without.false, without.n_false) == (2, 0, 6)


def test_auroc_sets_planted_entries_against_all_others() -> None:
    planted = [5.0, 4.0, 2.5]
    others = [1.0, 2.0, 0.5, 1.5, 3.0, 0.1, 1.0, 0.2, 0.3, 9.0, 8.0, 7.0]
    auroc = graded(EFFECTS, TRUTH).auroc
    assert auroc is not None
    assert auroc.estimate == pytest.approx(oracles.auroc_by_pairs(planted, others))
    assert auroc.low < auroc.estimate < auroc.high


def test_the_interval_of_an_auroc_resamples_whole_authors() -> None:
    """Against every resample of three authors, all 27 of them."""
    effects = np.array([[2.0, 1.0, 0.5], [0.0, 0.5, 3.0], [1.0, 1.5, 2.0]])
    planted = np.eye(3, dtype=bool)
    aurocs = []
    for drawn in product(range(3), repeat=3):
        own = [effects[row, row] for row in drawn]
        rest = [effects[row, column] for row in drawn for column in range(3) if column != row]
        aurocs.append(oracles.auroc_by_pairs(own, rest))
    found = auroc_of_entries(effects, planted)
    values = np.sort(aurocs)
    assert values[0] <= found.low <= values[1] and values[-2] <= found.high <= values[-1]
    assert found.estimate == pytest.approx(
        oracles.auroc_by_pairs([2.0, 0.5, 2.0], [1.0, 0.5, 0.0, 3.0, 1.0, 1.5])
    )


def test_without_an_effect_the_auroc_interval_holds_a_half_about_as_often_as_it_says() -> None:
    """500 tables of 14 authors by 16 traits; entries of an author share a shift."""
    draw, held = np.random.default_rng(3), 0
    planted = np.eye(14, 16, dtype=bool)
    for _ in range(500):
        found = auroc_of_entries(draw.normal(size=(14, 16)) + draw.normal(size=(14, 1)), planted)
        held += found.low <= 0.5 <= found.high
    assert 0.88 <= held / 500 <= 0.98


def test_shams_are_set_against_the_largest_entries_on_traits_not_planted() -> None:
    found = checked(EFFECTS)
    assert found.null.tolist() == [2.0, 1.5, 3.0]
    assert found.largest == {"sham_1": 1.0, "sham_2": 9.0}
    assert found.p == {"sham_1": 1.0, "sham_2": 0.25}


@pytest.mark.parametrize(("largest", "p"), [(1.4, 1.0), (1.5, 1.0), (1.6, 0.75), (2.5, 0.5), (3.0, 0.5), (3.1, 0.25)])
def test_a_shams_p_counts_the_null_at_or_above_it_and_itself(largest: float, p: float) -> None:
    effects = EFFECTS.copy()
    effects[3] = largest
    assert checked(effects, ("sham_1",)).p == {"sham_1": p}


def test_a_behaviour_that_no_vector_stands_for_is_not_graded() -> None:
    truth = {**TRUTH, "c": "not among the vectors"}
    found = assigned(EFFECTS, truth)
    assert found[2].rank_of_truth is None
    grades = grade(table(EFFECTS), found)
    assert (grades.right, grades.graded, grades.n_false) == (2, 2, 10)
    assert check_shams(table(EFFECTS), found, ()).null.tolist() == [2.0, 1.5]


def test_where_nothing_was_planted_nothing_is_graded() -> None:
    found = graded(EFFECTS, {})
    assert (found.right, found.graded, found.chance_p, found.auroc) == (0, 0, 1.0, None)
    assert np.isnan(found.accuracy.estimate) and (found.accuracy.low, found.accuracy.high) == (0.0, 1.0)


def test_only_what_is_known_is_graded() -> None:
    variants = {author: ModelVariant(model="m", role="sham" if author in SHAMS else "organism") for author in AUTHORS}
    found = gradable(assigned(EFFECTS, {**TRUTH, "b": None}), variants)
    assert [each.author for each in found] == ["a", "c", "sham_1", "sham_2"]


def test_grades_are_given_by_recipe_and_apart_for_what_was_developed_on() -> None:
    names = ("p1", "p2", "q1")
    variants = {name: ModelVariant(model="m", role="organism", recipe=name[0], truth="t") for name in names}
    variants |= {"reader": ModelVariant(model="m", role="reader")}
    config = ExperimentConfig(
        clean_reader="reader", layers=(1,), prompt_sets=("s",), model_variants=variants, development=("p2", "q1")
    )
    assert parts(config, ["p1", "p2", "q1"]) == {
        "all": ["p1", "p2", "q1"],
        "development": ["p2", "q1"],
        "report": ["p1"],
        "recipe p": ["p1", "p2"],
        "recipe q": ["q1"],
    }
    assert "report" not in parts(config, ["q1"])
    assert set(parts(config.model_copy(update={"development": ()}), ["q1"])) == {"all", "recipe q"}


def test_guessing_is_as_often_right_as_its_chance_says() -> None:
    """Random entries: the number right over 2,000 drawn matrices, within three standard errors of its chance."""
    draw = np.random.default_rng(0)
    truth = {author: TRUTH[author] for author in AUTHORS[:3]}
    rights = [sum(each.rank_of_truth == 1 for each in assigned(draw.normal(size=(3, 3)), truth)) for _ in range(2000)]
    error = (3 * (1 / 3) * (2 / 3) / 2000) ** 0.5
    assert abs(np.mean(rights) - 1.0) < 3 * error
