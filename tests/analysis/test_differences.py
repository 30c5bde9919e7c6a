"""Paired differences against loops, planted effects, and simulations of what the intervals promise."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from analysis.contrasts import Joined, join
from analysis.differences import (
    MIN_OTHERS,
    N_FLIPS,
    N_RESAMPLES,
    TOP_SHARE,
    Differences,
    estimate,
    everyone_else,
    summarise,
)
from analysis.readings import Paired
from interp.intervals import top_ends
from interp.permutations import flipped_means, flipped_tops, sign_flips
from interp.projections import Column
from interp.stats import Floats, bootstrap_counts

METHOD = "mean_difference"


def columns_of(n: int, layers: tuple[int, ...] = (1,)) -> tuple[Column, ...]:
    return tuple((f"trait_{i:03}", METHOD, layer) for i in range(n) for layer in layers)


def pair(author: str, difference: Floats, columns: tuple[Column, ...], clean: Floats | None = None) -> Paired:
    """Two readings that differ by `difference`; by default on top of a large score that both share."""
    shared = np.full_like(difference, 100.0) if clean is None else clean
    prompts = tuple(("set", f"p{i:03}") for i in range(len(difference)))
    none = difference[..., None][..., :0]
    return Paired(author, prompts, columns, shared + difference, shared, (shared + difference) / 10, shared / 10, none)


def noise(seed: int, authors: int, prompts: int, n_columns: int) -> Floats:
    drawn: Floats = np.random.default_rng(seed).normal(size=(authors, prompts, n_columns))
    return drawn


def joined_of(differences: Floats) -> Joined:
    columns = columns_of(differences.shape[-1])
    return join([pair(f"author_{i}", each, columns) for i, each in enumerate(differences)])


def summarise_pairs(*pairs: Paired) -> Differences:
    joined = join(pairs)
    return summarise(joined, everyone_else(joined))


def summarised(differences: Floats, n_flips: int = N_FLIPS, seed: int = 0) -> Differences:
    joined = joined_of(differences)
    return summarise(joined, everyone_else(joined), n_flips, seed)


def test_an_effect_on_a_tenth_of_the_prompts_is_found_where_it_was_planted() -> None:
    """Each of ten authors moves one column of twelve, on 6 prompts of 60."""
    n = 10
    differences = noise(0, authors=n, prompts=60, n_columns=12)
    before = summarised(differences)
    for author in range(n):
        differences[author, 10:16, author] += 6.0
    found = summarised(differences)
    assert [int(row.argmax()) for row in found.raw.effect] == list(range(n))
    assert not all(int(row.argmax()) == author for author, row in enumerate(before.raw.effect))
    own = found.z_others[range(n), range(n)]
    assert own.min() > 5 > found.z_others[:, n:].max()
    assert (found.raw.top_low[range(n), range(n)] > before.raw.top[range(n), range(n)]).all()
    assert found.raw.p[range(n), range(n)].max() < 0.05 < found.raw.p_max[:, n:].min()


def test_without_an_effect_the_intervals_cover_zero_as_often_as_they_can() -> None:
    """Of normal samples a percentile interval is mean ± z · s · √((n−1)/n²), whose coverage Student's t gives exactly.

    1,600 samples: 3 standard errors are 0.017; 0.004 more for the ends being quantiles of 1,000 resamples.
    """
    n = 60
    found = summarised(noise(1, authors=8, prompts=n, n_columns=200), n_flips=9)
    covered = float(((found.raw.mean_low <= 0) & (found.raw.mean_high >= 0)).mean())
    exact = 1 - 2 * float(student.sf(norm.ppf(0.975) * ((n - 1) / n) ** 0.5, n - 1))
    error = (exact * (1 - exact) / found.raw.mean.size) ** 0.5
    assert 0.94 < exact < 0.95
    assert abs(covered - exact) < 3 * error + 0.004


def test_with_an_effect_they_do_not() -> None:
    found = summarised(noise(1, authors=2, prompts=60, n_columns=100) + 0.6)
    assert float((found.raw.mean_low <= 0).mean()) < 0.05
    assert found.raw.mean.mean() == pytest.approx(0.6, abs=0.05)


def test_a_wider_spread_gives_a_wider_interval_and_the_same_effect() -> None:
    differences = noise(2, authors=4, prompts=80, n_columns=3)
    one, ten = summarised(differences), summarised(differences * 10)
    np.testing.assert_allclose(ten.raw.mean_high - ten.raw.mean_low, 10 * (one.raw.mean_high - one.raw.mean_low))
    np.testing.assert_allclose(ten.raw.effect, one.raw.effect)
    np.testing.assert_allclose(ten.z_others, one.z_others)


def test_estimates_and_ends_are_those_of_a_loop_over_resampled_prompts() -> None:
    differences = noise(3, authors=2, prompts=35, n_columns=3)
    found = summarised(differences, seed=7).raw
    counts = bootstrap_counts(35, N_RESAMPLES, 7)
    k = round(35 * TOP_SHARE)
    for author in range(2):
        ends = top_ends(differences[author], counts, TOP_SHARE)
        for column in range(3):
            values = differences[author, :, column]
            means = [np.repeat(values, drawn).mean() for drawn in counts]
            for name, expected in (
                ("mean", values.mean()),
                ("mean_low", np.quantile(means, 0.025)),
                ("mean_high", np.quantile(means, 0.975)),
                ("top", np.mean(sorted(values.tolist())[-k:])),
                ("top_low", ends.low[column]),
                ("top_high", ends.high[column]),
            ):
                assert getattr(found, name)[author, column] == pytest.approx(expected, abs=1e-9), name


def test_p_is_counted_over_flips_that_all_columns_share() -> None:
    differences = noise(12, authors=2, prompts=30, n_columns=4)
    differences[0, :, 2] += 0.8
    found, flips = summarised(differences, seed=5).raw, sign_flips(30, N_FLIPS, 5)
    n = flips.signs.shape[1] + 1
    for author in range(2):
        values = differences[author]
        means, tops = flipped_means(values, flips), flipped_tops(values, flips, TOP_SHARE)
        combined = []
        for column in range(4):
            mean, top = values[:, column].mean(), np.mean(sorted(values[:, column])[-3:])
            two_sided = (1 + (np.abs(means[:, column]) >= abs(mean)).sum()) / n
            assert found.mean_p[author, column] == pytest.approx(two_sided)
            assert found.top_p[author, column] == pytest.approx((1 + (tops[:, column] >= top).sum()) / n)
            both = np.array([[mean, *means[:, column]], [top, *tops[:, column]]])
            scaled = (both - both.mean(axis=1, keepdims=True)) / both.std(axis=1, keepdims=True)
            combined.append(scaled.max(axis=0))
            assert found.p[author, column] == pytest.approx((combined[-1] >= combined[-1][0] - 1e-9).mean())
        largest = np.max(combined, axis=0)[1:]
        for column in range(4):
            expected = (1 + (largest >= combined[column][0] - 1e-9).sum()) / n
            assert found.p_max[author, column] == pytest.approx(expected)
    assert found.p[0, 2] < 0.01 and found.p_max[0, 2] < 0.01


def test_without_an_effect_one_table_in_twenty_has_anything_at_all() -> None:
    """300 authors of 12 columns that share their noise: the smallest corrected p of each, and of all q together."""
    differences = noise(13, authors=300, prompts=40, n_columns=12) + noise(14, authors=300, prompts=40, n_columns=1)
    found = estimate(differences, n_flips=399)
    wrong = (found.p_max <= 0.05).any(axis=1).mean()
    assert abs(wrong - 0.05) <= 3 * (0.0475 / 300) ** 0.5
    assert (found.p <= 0.05).any(axis=1).mean() > 0.15
    assert (found.q < 0.05).mean() < 0.005


def test_what_all_share_is_in_the_raw_differences_and_not_in_the_centred_ones() -> None:
    """A recipe moves every column of every author by one; the fourth author has a behaviour as well."""
    differences = noise(15, authors=6, prompts=80, n_columns=5) + 1.0
    differences[3, :, 2] += 1.5
    found = summarised(differences)
    assert (found.raw.q < 0.05).all()
    flagged = {(int(row), int(column)) for row, column in np.argwhere(found.centred.q < 0.05)}
    assert (3, 2) in flagged and len(flagged) <= 3
    np.testing.assert_allclose(found.centred.mean[3, 2], 1.5, atol=0.4)
    assert found.n_peers.tolist() == [5] * 6


def test_effect_is_top_in_units_of_the_spread_over_all_authors_and_prompts() -> None:
    differences = noise(4, authors=3, prompts=20, n_columns=2) * np.array([1.0, 5.0])
    found = summarised(differences)
    for column in range(2):
        pooled = [value for author in differences for value in author[:, column].tolist()]
        assert found.raw.sd[1, column] == pytest.approx(np.std(pooled))
        assert found.raw.effect[1, column] == pytest.approx(found.raw.top[1, column] / np.std(pooled))


def test_z_is_against_the_other_authors_alone() -> None:
    n = MIN_OTHERS + 1
    differences = noise(5, authors=n, prompts=30, n_columns=4)
    found = summarised(differences)
    for author in range(n):
        for column in range(4):
            others = [found.raw.top[other, column] for other in range(n) if other != author]
            spread = 1.4826 * np.median([abs(value - np.median(others)) for value in others])
            expected = (found.raw.top[author, column] - np.median(others)) / spread
            assert found.z_others[author, column] == pytest.approx(expected)


@pytest.mark.parametrize(("authors", "known"), [(1, False), (4, False), (MIN_OTHERS, False), (MIN_OTHERS + 1, True)])
def test_too_few_others_give_no_z(authors: int, known: bool) -> None:
    found = summarised(noise(6, authors=authors, prompts=10, n_columns=2))
    assert np.isfinite(found.z_others).all() == known
    assert known or np.isnan(found.z_others).all()


def test_prompts_without_a_response_are_left_out_and_counted() -> None:
    differences = noise(7, authors=2, prompts=12, n_columns=3)
    holes = np.insert(differences[0], [0, 5, 12], np.nan, axis=0)
    whole = summarise_pairs(pair("a", differences[0], columns_of(3)), pair("b", differences[1], columns_of(3)))
    holed = summarise_pairs(pair("a", holes, columns_of(3)), pair("b", differences[1], columns_of(3)))
    assert holed.n_prompts.tolist() == [12, 12]
    np.testing.assert_allclose(holed.cosine, whole.cosine)
    for name in ("mean", "mean_low", "top", "mean_p", "top_p", "p_max", "sd"):
        np.testing.assert_allclose(getattr(holed.raw, name), getattr(whole.raw, name), err_msg=name)


def test_a_score_that_is_missing_does_not_spoil_the_others() -> None:
    differences = noise(11, authors=2, prompts=12, n_columns=3)
    differences[0, 4, 1] = np.nan
    found = summarised(differences)
    for name in ("mean", "mean_low", "top", "p", "sd", "effect"):
        assert np.isfinite(getattr(found.raw, name)).all(), name


def test_only_columns_that_every_author_has_are_compared() -> None:
    a, b, c = columns_of(3)
    values = noise(8, authors=2, prompts=9, n_columns=3)
    found = summarise_pairs(pair("x", values[0], (a, b, c)), pair("y", values[1][:, :2], (c, a)))
    assert found.columns == (a, c)
    np.testing.assert_allclose(found.raw.mean[0], values[0][:, [0, 2]].mean(axis=0))
    np.testing.assert_allclose(found.raw.mean[1], values[1][:, [1, 0]].mean(axis=0))


def test_cosines_are_averaged_and_may_be_unknown() -> None:
    values = noise(9, authors=1, prompts=10, n_columns=2)[0]
    known = pair("a", values, columns_of(2), clean=np.zeros_like(values))
    np.testing.assert_allclose(summarise_pairs(known).cosine[0], values.mean(axis=0) / 10)
    unknown = np.full_like(values, np.nan)
    pooled = Paired("a", known.prompts, known.columns, known.own, known.clean, unknown, unknown, known.null_difference)
    assert np.isnan(summarise_pairs(pooled).cosine).all()
