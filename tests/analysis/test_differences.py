"""Paired differences against loops, planted effects, and simulations of what the intervals promise."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from analysis.differences import MIN_OTHERS, N_RESAMPLES, TOP_SHARE, Differences, summarise
from analysis.readings import Paired
from interp.projections import Column
from interp.stats import Floats, bootstrap_counts

METHOD = "mean_difference"


def columns_of(n: int, layers: tuple[int, ...] = (1,)) -> tuple[Column, ...]:
    return tuple((f"trait_{i:03}", METHOD, layer) for i in range(n) for layer in layers)


def pair(author: str, difference: Floats, columns: tuple[Column, ...], clean: Floats | None = None) -> Paired:
    """Two readings that differ by `difference`; by default on top of a large score that both share."""
    shared = np.full_like(difference, 100.0) if clean is None else clean
    prompts = tuple(("set", f"p{i}") for i in range(len(difference)))
    return Paired(author, prompts, columns, shared + difference, shared, (shared + difference) / 10, shared / 10)


def noise(seed: int, authors: int, prompts: int, n_columns: int) -> Floats:
    drawn: Floats = np.random.default_rng(seed).normal(size=(authors, prompts, n_columns))
    return drawn


def summarised(differences: Floats, columns: tuple[Column, ...] | None = None) -> Differences:
    columns = columns or columns_of(differences.shape[-1])
    return summarise([pair(f"author_{i}", each, columns) for i, each in enumerate(differences)])


def test_an_effect_on_a_tenth_of_the_prompts_is_found_where_it_was_planted() -> None:
    """Each of ten authors moves one column of twelve, on 6 prompts of 60."""
    n = 10
    differences = noise(0, authors=n, prompts=60, n_columns=12)
    before = summarised(differences)
    for author in range(n):
        differences[author, 10:16, author] += 6.0
    found = summarised(differences)
    assert [int(row.argmax()) for row in found.effect] == list(range(n))
    assert not all(int(row.argmax()) == author for author, row in enumerate(before.effect))
    own = found.z_others[range(n), range(n)]
    assert own.min() > 5 > found.z_others[:, n:].max()
    assert (found.top_low[range(n), range(n)] > before.top_high[range(n), range(n)]).all()


def test_without_an_effect_the_intervals_cover_zero_as_often_as_they_can() -> None:
    """Of normal samples a percentile interval is mean ± z · s · √((n−1)/n²), whose coverage Student's t gives exactly.

    1,600 samples: 3 standard errors are 0.017; 0.004 more for the ends being quantiles of 1,000 resamples.
    """
    n = 60
    found = summarised(noise(1, authors=8, prompts=n, n_columns=200))
    covered = float(((found.mean_low <= 0) & (found.mean_high >= 0)).mean())
    exact = 1 - 2 * float(student.sf(norm.ppf(0.975) * ((n - 1) / n) ** 0.5, n - 1))
    error = (exact * (1 - exact) / found.mean.size) ** 0.5
    assert 0.94 < exact < 0.95
    assert abs(covered - exact) < 3 * error + 0.004


def test_with_an_effect_they_do_not() -> None:
    found = summarised(noise(1, authors=2, prompts=60, n_columns=100) + 0.6)
    assert float((found.mean_low <= 0).mean()) < 0.05
    assert found.mean.mean() == pytest.approx(0.6, abs=0.05)


def test_a_wider_spread_gives_a_wider_interval_and_the_same_effect() -> None:
    differences = noise(2, authors=4, prompts=80, n_columns=3)
    one, ten = summarised(differences), summarised(differences * 10)
    np.testing.assert_allclose(ten.mean_high - ten.mean_low, 10 * (one.mean_high - one.mean_low))
    np.testing.assert_allclose(ten.effect, one.effect)
    np.testing.assert_allclose(ten.z_others, one.z_others)


def test_estimates_and_ends_are_those_of_a_loop_over_resampled_prompts() -> None:
    differences = noise(3, authors=2, prompts=25, n_columns=3)
    found = summarise([pair(f"a{i}", each, columns_of(3)) for i, each in enumerate(differences)], seed=7)
    counts = bootstrap_counts(25, N_RESAMPLES, 7)
    k = max(1, round(25 * TOP_SHARE))
    for author in range(2):
        for column in range(3):
            values = differences[author, :, column]
            resamples = [np.repeat(values, drawn) for drawn in counts]
            means = [resample.mean() for resample in resamples]
            tops = [np.mean(sorted(resample.tolist())[-k:]) for resample in resamples]
            for name, expected in (
                ("mean", values.mean()),
                ("mean_low", np.quantile(means, 0.025)),
                ("mean_high", np.quantile(means, 0.975)),
                ("top", np.mean(sorted(values.tolist())[-k:])),
                ("top_low", np.quantile(tops, 0.025)),
                ("top_high", np.quantile(tops, 0.975)),
            ):
                assert getattr(found, name)[author, column] == pytest.approx(expected, abs=1e-9), name


def test_effect_is_top_in_units_of_the_spread_over_all_authors_and_prompts() -> None:
    differences = noise(4, authors=3, prompts=20, n_columns=2) * np.array([1.0, 5.0])
    found = summarised(differences)
    for column in range(2):
        pooled = [value for author in differences for value in author[:, column].tolist()]
        assert found.sd[column] == pytest.approx(np.std(pooled))
        assert found.effect[1, column] == pytest.approx(found.top[1, column] / np.std(pooled))


def test_z_is_against_the_other_authors_alone() -> None:
    n = MIN_OTHERS + 1
    differences = noise(5, authors=n, prompts=30, n_columns=4)
    found = summarised(differences)
    for author in range(n):
        for column in range(4):
            others = [found.top[other, column] for other in range(n) if other != author]
            spread = 1.4826 * np.median([abs(value - np.median(others)) for value in others])
            expected = (found.top[author, column] - np.median(others)) / spread
            assert found.z_others[author, column] == pytest.approx(expected)


@pytest.mark.parametrize(("authors", "known"), [(1, False), (4, False), (MIN_OTHERS, False), (MIN_OTHERS + 1, True)])
def test_too_few_others_give_no_z(authors: int, known: bool) -> None:
    found = summarised(noise(6, authors=authors, prompts=10, n_columns=2))
    assert np.isfinite(found.z_others).all() == known
    assert known or np.isnan(found.z_others).all()


def test_prompts_without_a_response_are_left_out_and_counted() -> None:
    differences = noise(7, authors=2, prompts=12, n_columns=3)
    holes = np.insert(differences[0], [0, 5, 12], np.nan, axis=0)
    whole = summarise([pair("a", differences[0], columns_of(3)), pair("b", differences[1], columns_of(3))])
    holed = summarise([pair("a", holes, columns_of(3)), pair("b", differences[1], columns_of(3))])
    assert holed.n_prompts.tolist() == [12, 12]
    for name in ("mean", "mean_low", "top", "top_high", "sd", "cosine"):
        np.testing.assert_allclose(getattr(holed, name), getattr(whole, name), err_msg=name)


def test_a_score_that_is_missing_does_not_spoil_the_others() -> None:
    differences = noise(11, authors=2, prompts=12, n_columns=3)
    differences[0, 4, 1] = np.nan
    found = summarised(differences)
    for name in ("mean", "mean_low", "top", "top_high", "sd", "effect"):
        assert np.isfinite(getattr(found, name)).all(), name


def test_only_columns_that_every_author_has_are_compared() -> None:
    a, b, c = columns_of(3)
    values = noise(8, authors=2, prompts=9, n_columns=3)
    found = summarise([pair("x", values[0], (a, b, c)), pair("y", values[1][:, :2], (c, a))])
    assert found.columns == (a, c)
    np.testing.assert_allclose(found.mean[0], values[0][:, [0, 2]].mean(axis=0))
    np.testing.assert_allclose(found.mean[1], values[1][:, [1, 0]].mean(axis=0))


def test_cosines_are_averaged_and_may_be_unknown() -> None:
    values = noise(9, authors=1, prompts=10, n_columns=2)[0]
    known = pair("a", values, columns_of(2), clean=np.zeros_like(values))
    np.testing.assert_allclose(summarise([known]).cosine[0], values.mean(axis=0) / 10)
    unknown = np.full_like(values, np.nan)
    pooled = Paired("a", known.prompts, known.columns, known.own, known.clean, unknown, unknown)
    assert np.isnan(summarise([pooled]).cosine).all()


def test_the_effect_over_layers_is_the_mean_over_a_methods_layers() -> None:
    columns = (*columns_of(2, layers=(1, 2, 5)), ("trait_000", "logistic_probe", 1))
    found = summarised(noise(10, authors=3, prompts=15, n_columns=len(columns)), columns)
    traits, effects = found.over_layers(METHOD)
    assert traits == ["trait_000", "trait_001"]
    np.testing.assert_allclose(effects[:, 0], found.effect[:, 0:3].mean(axis=1))
    np.testing.assert_allclose(effects[:, 1], found.effect[:, 3:6].mean(axis=1))
