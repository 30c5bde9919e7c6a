"""The rule, and how often it is wrong where nothing was planted."""

import itertools

import numpy as np
import pytest

from analysis.contrasts import Joined, Peers
from analysis.detection import ALPHA, MIN_Z, Entries, enough_flips, find_entries, is_detected
from analysis.differences import everyone_else
from interp.permutations import benjamini_hochberg
from interp.projections import Column
from interp.stats import Floats

METHOD = "mean_difference"


def joined(values: Floats, layers: int = 1, null: Floats | None = None) -> Joined:
    columns: tuple[Column, ...] = tuple(
        (f"t{at // layers:02}", METHOD, at % layers) for at in range(values.shape[-1])
    )
    without = values[..., None][..., :0]
    authors = tuple(f"a{row:02}" for row in range(len(values)))
    prompts = tuple(("set", str(row)) for row in range(values.shape[1]))
    return Joined(authors, prompts, columns, values, values / 10, without if null is None else null)


def noise(seed: int, *shape: int) -> Floats:
    drawn: Floats = np.random.default_rng(seed).normal(size=shape)
    return drawn


def entries_of(values: Floats, shams: list[str], peers: Peers | None = None, layers: int = 1) -> Entries:
    of = joined(values, layers)
    return find_entries(of, everyone_else(of) if peers is None else peers, METHOD, shams)


@pytest.mark.parametrize(
    ("q", "effect", "sham_largest", "z", "random_p", "expected"),
    [
        (0.04, 2.0, 1.0, np.nan, np.nan, True),
        (0.05, 2.0, 1.0, np.nan, np.nan, False),
        (0.04, 1.0, 1.0, np.nan, np.nan, False),
        (0.04, 2.0, 1.0, 0.0, np.nan, False),
        (0.04, 2.0, 1.0, 9.0, np.nan, True),
        (0.04, 1.0, 1.0, 9.0, np.nan, False),
        (0.04, 2.0, np.nan, MIN_Z + 0.1, np.nan, True),
        (0.04, 2.0, np.nan, MIN_Z, np.nan, False),
        (0.04, 2.0, np.nan, np.nan, np.nan, True),
        (0.06, 2.0, np.nan, 9.0, np.nan, False),
        (np.nan, 2.0, 1.0, 9.0, np.nan, False),
        (0.04, 2.0, 1.0, 9.0, 0.04, True),
        (0.04, 2.0, 1.0, 9.0, 0.05, False),
    ],
)
def test_the_rule(q: float, effect: float, sham_largest: float, z: float, random_p: float, expected: bool) -> None:
    found = is_detected(*(np.array([each]) for each in (q, effect, sham_largest, z, random_p)))
    assert found.tolist() == [expected]


def test_an_effect_is_set_against_the_authors_own_on_random_directions() -> None:
    """By a loop: scaled by the spread of all authors, averaged over layers, the top tenth over the spread again."""
    values, null = noise(1, 3, 40, 4), noise(2, 3, 40, 4, 5) * np.arange(1, 5)[:, None]
    of = joined(values, layers=2, null=null)
    found = find_entries(of, {author: [] for author in of.authors}, METHOD, [])
    for author in range(3):
        effects = []
        for trait, direction in itertools.product(range(2), range(5)):
            both = np.stack([null[:, :, 2 * trait + layer, direction] for layer in range(2)])
            means = np.mean([layer / layer.std() for layer in both], axis=0)
            effects.append(np.sort(means[author])[-4:].mean() / means.std())
        for trait in range(2):
            above = sum(each >= found.estimates.effect[author, trait] for each in effects)
            assert found.random_p[author, trait] == pytest.approx((1 + above) / (1 + 10))


def test_without_an_effect_its_random_p_is_as_low_as_it_says() -> None:
    """800 entries of nothing but noise, each among 60 random directions of its author: 5% lie below 0.05."""
    values, null = noise(3, 40, 60, 20), noise(4, 40, 60, 20, 3)
    of = joined(values, null=null)
    below = find_entries(of, {author: [] for author in of.authors}, METHOD, []).random_p < 0.05
    assert 0.02 < below.mean() < 0.08
    planted = find_entries(joined(values + 1, null=null), {author: [] for author in of.authors}, METHOD, [])
    assert (planted.random_p < 0.05).mean() > 0.9


def test_a_sham_is_set_against_the_other_shams_and_an_organism_against_all() -> None:
    values = noise(0, 6, 50, 3)
    values[4, :, 1] += 2
    found = entries_of(values, ["a04", "a05"])
    effects = found.estimates.effect
    assert found.sham_largest[:4].tolist() == [max(effects[4].max(), effects[5].max())] * 4
    assert (found.sham_largest[4], found.sham_largest[5]) == (effects[5].max(), effects[4].max())
    for author in range(6):
        null = [value for sham in (4, 5) if sham != author for value in effects[sham]]
        for trait in range(3):
            expected = (1 + sum(value >= effects[author, trait] for value in null)) / (1 + len(null))
            assert found.sham_p[author, trait] == pytest.approx(expected)
    assert found.detected[4, 1]
    assert not found.detected[:4].any(), "no organism is above a sham that moves"


def test_one_sham_has_no_null_of_its_own() -> None:
    found = entries_of(noise(1, 4, 40, 3), ["a03"])
    assert np.isnan(found.sham_largest[3]) and np.isnan(found.sham_p[3]).all()
    assert np.isfinite(found.sham_p[:3]).all()


def test_the_rule_looks_at_centred_statistics_where_every_author_has_peers() -> None:
    values = noise(2, 5, 60, 4) + 1.0
    found = entries_of(values, [])
    assert found.centred and found.estimates is found.differences.centred
    peers: dict[str, list[str]] = {f"a{row:02}": [] for row in range(5)}
    alone = entries_of(values, [], peers={**peers, "a00": ["a01", "a02", "a03"]})
    assert not alone.centred and alone.estimates is alone.differences.raw
    assert alone.detected.all() and not found.detected.any(), "what all share is found in each, or in none"


def test_a_planted_behaviour_is_detected_and_a_drift_of_all_traits_is_not() -> None:
    """Ten organisms and two shams, each drifting a little on every trait; two of them have a behaviour."""
    values = noise(3, 12, 100, 6) + 0.3 * noise(4, 12, 1, 6)
    values[0, :12, 2] += 5
    values[1, :, 4] += 2
    found = entries_of(values, ["a10", "a11"])
    assert np.isfinite(found.differences.z_others).all()
    assert {tuple(each) for each in np.argwhere(found.detected).tolist()} == {(0, 2), (1, 4)}
    assert (found.estimates.q < ALPHA).sum() > 5, "drift alone has small q"


def test_without_shams_drift_is_told_by_the_peers() -> None:
    values = noise(3, 14, 100, 6) + 0.3 * noise(4, 14, 1, 6)
    values[0, :, 2] += 3
    found = entries_of(values, [])
    assert found.detected[0, 2]
    assert found.detected.sum() <= 3 < (found.estimates.q < ALPHA).sum()


def test_where_nothing_is_planted_one_table_in_twenty_flags_anything() -> None:
    """100 tables of 4 organisms by 4 traits, without shams and with too few peers: q alone."""
    tables = [entries_of(noise(seed, 4, 30, 4), []) for seed in range(100)]
    assert all(np.isnan(each.differences.z_others).all() for each in tables)
    wrong = np.mean([each.detected.any() for each in tables])
    assert wrong <= ALPHA + 3 * (ALPHA * (1 - ALPHA) / 100) ** 0.5


def test_flips_are_enough_for_one_entry_alone() -> None:
    for n in (4, 40, 400, 952):
        p = np.full(n, 0.9)
        p[0] = 1 / (enough_flips(n) + 1)
        assert benjamini_hochberg(p)[0] < ALPHA
    assert enough_flips(4) == 2000 and enough_flips(952) == 19040
