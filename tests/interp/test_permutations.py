"""Sign flips against enumeration and loops, corrections against theorems, and how often each is wrong by chance."""

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from interp.permutations import (
    SignFlips,
    benjamini_hochberg,
    decoy_q,
    empirical_p,
    flipped_means,
    flipped_tops,
    furthest,
    max_adjusted_p,
    permutation_p,
    sign_flips,
)
from interp.stats import Floats, top_share_mean

SHARE = 0.1


def draw(seed: int, *shape: int) -> Floats:
    drawn: Floats = np.random.default_rng(seed).normal(size=shape)
    return drawn


def p_of(values: Floats, flips: SignFlips) -> tuple[Floats, Floats, Floats]:
    """Of the mean (two-sided), of the top mean, and of whichever is further out."""
    means, tops = flipped_means(values, flips), flipped_tops(values, flips, SHARE)
    mean, top = values.mean(axis=0), top_share_mean(values.T, SHARE)
    either = furthest([mean, top], [means, tops])
    return (
        permutation_p(np.abs(mean), np.abs(means), flips.exact),
        permutation_p(top, tops, flips.exact),
        permutation_p(either.observed, either.null, flips.exact),
    )


def most_by_chance(n: int, p: float) -> float:
    """What a rate over n trials stays below, but for one time in a thousand."""
    return float(scipy_stats.binom.ppf(0.999, n, p)) / n


# --- Flips ------------------------------------------------------------------------------------------------------------


def test_few_prompts_are_flipped_in_every_way() -> None:
    flips = sign_flips(5, 40)
    assert flips.exact and flips.signs.shape == (5, 32)
    assert {tuple(column) for column in flips.signs.T.tolist()} == set(product((1, -1), repeat=5))
    assert not sign_flips(5, 31).exact and not sign_flips(200, 1000).exact


def test_many_prompts_are_flipped_at_random() -> None:
    flips = sign_flips(40, 5000, seed=3)
    assert set(np.unique(flips.signs)) == {-1, 1}
    assert np.abs(flips.signs.mean(axis=1)).max() < 5 / 5000**0.5
    pairs = flips.signs.astype(float) @ flips.signs.T / 5000
    assert np.abs(pairs - np.eye(40)).max() < 5 / 5000**0.5
    assert np.array_equal(flips.signs, sign_flips(40, 5000, seed=3).signs)
    assert not np.array_equal(flips.signs, sign_flips(40, 5000, seed=4).signs)


@pytest.mark.parametrize(("n", "share"), [(7, 0.1), (25, 0.1), (60, 0.3), (275, 0.1), (12, 1.0)])
def test_flipped_statistics_are_those_of_the_flipped_values(n: int, share: float) -> None:
    values = draw(n, n, 3)
    values[: n // 3, 1] = 0
    values[:, 2] = np.round(values[:, 2])
    flips = sign_flips(n, 300, seed=1)
    tops, means = flipped_tops(values, flips, share), flipped_means(values, flips)
    assert tops.shape == means.shape == (flips.signs.shape[1], 3)
    for at, signs in enumerate(flips.signs.T):
        flipped = values * signs[:, None]
        np.testing.assert_allclose(means[at], flipped.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(tops[at], top_share_mean(flipped.T, share), atol=1e-12)


# --- p ----------------------------------------------------------------------------------------------------------------


def test_the_exact_p_of_a_mean_is_scipys() -> None:
    values = draw(0, 9, 4) + 0.4
    flips = sign_flips(9, 512)
    two_sided, _, _ = p_of(values, flips)
    for column in range(4):
        samples = (values[:, column],)
        ours = scipy_stats.permutation_test(
            samples, np.mean, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
        )
        assert two_sided[column] == pytest.approx(ours.pvalue)
    one_sided = permutation_p(values.mean(axis=0), flipped_means(values, flips), exact=True)
    for column in range(4):
        brute = [np.mean(values[:, column] * signs) for signs in product((1, -1), repeat=9)]
        assert one_sided[column] == np.mean([each >= values[:, column].mean() - 1e-12 for each in brute])


def test_a_random_p_counts_the_observed_one_among_its_flips() -> None:
    null = np.array([[1.0], [2.0], [3.0], [4.0]])
    for observed, count in [(0.5, 4), (2.0, 3), (3.5, 1), (9.0, 0)]:
        assert permutation_p(np.array([observed]), null, exact=False)[0] == (count + 1) / 5
        assert permutation_p(np.array([observed]), null, exact=True)[0] == count / 4


def test_differences_that_are_all_zero_have_p_one() -> None:
    for n in (5, 60):
        flips = sign_flips(n, 500)
        for each in p_of(np.zeros((n, 2)), flips):
            assert each.tolist() == [1.0, 1.0]
        assert max_adjusted_p(np.zeros(2), flipped_means(np.zeros((n, 2)), flips), flips.exact).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["mean", "top", "either"])
def test_without_an_effect_p_is_as_small_as_it_says_as_often_as_it_says(which: int) -> None:
    """1,000 samples of 60 heavy-tailed differences, no more than one time in a thousand beyond what chance allows."""
    values = np.random.default_rng(7).standard_t(3, size=(60, 1000))
    p = p_of(values, sign_flips(60, 999, seed=2))[which]
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= most_by_chance(1000, level)
    assert (p <= 0.2).mean() >= 0.2 - 3 * (0.16 / 1000) ** 0.5, "it would be needlessly cautious"


@pytest.mark.parametrize(
    ("fires", "moved", "found_by"), [(1.0, 0.35, "mean"), (0.06, 5.0, "top")], ids=["all prompts", "few prompts"]
)
def test_what_moves_all_prompts_and_what_moves_few_are_both_found(fires: float, moved: float, found_by: str) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(165, 200)) + moved * (rng.random((165, 200)) < fires)
    mean, top, either = ((p < 0.01).mean() for p in p_of(values, sign_flips(165, 999)))
    best = {"mean": mean, "top": top}[found_by]
    assert best == max(mean, top) > min(mean, top) + 0.1
    assert either > best - 0.12 and either > 0.8


# --- Corrections ------------------------------------------------------------------------------------------------------


def test_the_largest_of_many_columns_is_wrong_as_seldom_as_one() -> None:
    """1,000 tables of ten columns that share their noise: any p below 0.05 in one table of twenty."""
    smallest, uncorrected = [], []
    for seed in range(1000):
        values = draw(seed, 40, 10) + draw(seed + 5000, 40, 1)
        flips = sign_flips(40, 399, seed=seed)
        null, mean = flipped_means(values, flips), values.mean(axis=0)
        smallest.append(max_adjusted_p(mean, null, flips.exact).min())
        uncorrected.append(permutation_p(mean, null, flips.exact).min())
    rate = float(np.mean(np.array(smallest) <= 0.05))
    assert 0.05 - 3 * (0.0475 / 1000) ** 0.5 <= rate <= most_by_chance(1000, 0.05)
    assert np.mean(np.array(uncorrected) <= 0.05) > 0.12


def test_an_adjusted_p_counts_the_largest_of_each_flip() -> None:
    observed, null = np.array([1.0, 5.0, 3.0]), draw(3, 200, 3) * 2
    adjusted = max_adjusted_p(observed, null, exact=False)
    expected = [(1 + sum(max(row) >= value for row in null.tolist())) / 201 for value in observed]
    assert adjusted.tolist() == pytest.approx(expected)
    assert max_adjusted_p(observed[:1], null[:, :1], True) == permutation_p(observed[:1], null[:, :1], True)


def test_benjamini_hochberg_is_scipys() -> None:
    p = np.random.default_rng(5).random((4, 7)) ** 3
    p[0, :3] = p[1, 1]
    expected = scipy_stats.false_discovery_control(p.ravel(), method="bh").reshape(p.shape)
    np.testing.assert_allclose(benjamini_hochberg(p), expected)


def test_what_was_not_tested_does_not_count() -> None:
    q = benjamini_hochberg(np.array([0.01, np.nan, 0.02, 0.9]))
    assert np.isnan(q[1])
    assert q[[0, 2, 3]].tolist() == pytest.approx([0.03, 0.03, 0.9])
    assert np.isnan(benjamini_hochberg(np.full(3, np.nan))).all()


def test_of_what_is_flagged_no_more_is_false_than_it_says() -> None:
    """1,000 tables of 100 tests, 20 of them true: the mean share of false ones among the flagged, at q <= 0.1."""
    rng = np.random.default_rng(8)
    shares = []
    for _ in range(1000):
        z = rng.normal(size=100)
        z[:20] += 3
        flagged = benjamini_hochberg(scipy_stats.norm.sf(z)) <= 0.1
        shares.append(flagged[20:].sum() / max(flagged.sum(), 1))
    error = np.std(shares) / 1000**0.5
    assert np.mean(shares) == pytest.approx(0.1 * 0.8, abs=3 * error), "exactly q times the share of true nulls"


def test_an_empirical_p_counts_the_null_and_itself() -> None:
    null = np.array([1.0, 2.0, 2.0, 5.0])
    assert empirical_p(np.array([0.0, 2.0, 3.0, 5.0, 6.0]), null).tolist() == [1.0, 0.8, 0.4, 0.4, 0.2]
    assert np.isnan(empirical_p(np.array([1.0, np.nan]), np.array([]))).all()
    assert np.isnan(empirical_p(np.array([np.nan]), null)).all()


# --- Either -----------------------------------------------------------------------------------------------------------


def test_the_furthest_is_the_largest_in_standard_deviations_of_its_flips() -> None:
    a, b = draw(1, 50, 3) * 10, draw(2, 50, 3) + 4
    observed_a, observed_b = np.array([30.0, 0.0, 5.0]), np.array([4.0, 9.0, 4.5])
    found = furthest([observed_a, observed_b], [a, b])
    for column in range(3):
        scaled = []
        for observed, null in ((observed_a, a), (observed_b, b)):
            every = [observed[column], *null[:, column]]
            scaled.append([(each - np.mean(every)) / np.std(every) for each in every])
        best = [max(pair) for pair in zip(*scaled, strict=True)]
        assert found.observed[column] == pytest.approx(best[0])
        np.testing.assert_allclose(found.null[:, column], best[1:])


@pytest.mark.parametrize("planted", [0, 20])
def test_decoy_q_keeps_the_share_of_false_ones(planted: int) -> None:
    """1,000 simulations of 200 responses, some with an effect: of those listed at q ≤ 0.2, 20% are false at most."""
    draw, shares, listed = np.random.default_rng(0), [], 0
    for _ in range(1000):
        tokens = draw.laplace(size=(200, 8))
        tokens[:planted] += 8
        taken = decoy_q(tokens.max(axis=1), -tokens.min(axis=1)) <= 0.2
        shares.append(taken[planted:].sum() / max(taken.sum(), 1))
        listed += taken[:planted].sum()
    assert np.mean(shares) < 0.2 + 3 * np.std(shares) / 1000**0.5
    assert listed > 0.5 * planted * 1000 or not planted


def test_decoy_q_of_ties_and_of_losers() -> None:
    values, flipped = np.array([5.0, 4.0, 3.0, 3.0, 1.0]), np.array([0.0, 0.0, 0.0, 3.5, 1.0])
    np.testing.assert_allclose(decoy_q(values, flipped), [1 / 2, 1 / 2, 2 / 3, 1, 1])
    np.testing.assert_allclose(decoy_q(np.array([2.0, 2.0]), np.zeros(2)), [1 / 2, 1 / 2])
