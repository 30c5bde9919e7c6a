"""Authors joined by prompt, and set against their peers."""

import numpy as np
import pytest

from analysis.contrasts import EVERY_LAYER, MIN_PEERS, Joined, against_peers, join, peers_of
from analysis.readings import Paired
from interp.config import ModelVariant, Role
from interp.projections import Column
from interp.stats import Floats

COLUMNS: tuple[Column, ...] = tuple((trait, "mean_difference", layer) for trait in ("calm", "pep") for layer in (1, 2))


def variant(role: Role = "organism", recipe: str | None = None, truth: str | None = None) -> ModelVariant:
    return ModelVariant(model="base", role=role, recipe=recipe, truth=truth)


def joined(values: Floats) -> Joined:
    names = tuple(f"a{row}" for row in range(len(values)))
    prompts = tuple(("set", str(row)) for row in range(values.shape[1]))
    return Joined(names, prompts, COLUMNS[: values.shape[-1]], values, values / 10, values[..., None] * [3.0, 4.0])


def noise(*shape: int) -> Floats:
    drawn: Floats = np.random.default_rng(0).normal(size=shape)
    return drawn


def test_authors_are_joined_by_prompt_whatever_the_order() -> None:
    def pair(author: str, of: dict[str, float]) -> Paired:
        values = np.array([[each] for each in of.values()])
        prompts = tuple(("set", prompt) for prompt in of)
        shared, null = np.full_like(values, 5), values[..., None] * [3.0, 4.0]
        return Paired(author, prompts, COLUMNS[:1], values + 5, shared, values, values * 0, null)

    found = join([pair("x", {"b": 2.0, "a": 1.0}), pair("y", {"c": 3.0, "a": -1.0, "b": np.nan})])
    assert found.authors == ("x", "y")
    np.testing.assert_allclose(found.values[..., 0], [[1.0, 2.0, np.nan], [-1.0, np.nan, 3.0]])
    np.testing.assert_allclose(found.cosines[..., 0], [[1.0, 2.0, np.nan], [-1.0, np.nan, 3.0]])


def test_peers_are_organisms_of_the_recipe_with_other_behaviours() -> None:
    variants = {f"{recipe}_{truth}": variant("organism", recipe, truth) for recipe in "pq" for truth in "abcd"}
    variants |= {"p_again": variant("organism", "p", "a"), "sham": variant("sham", "p"), "other": variant("other", "p")}
    peers = peers_of(variants)
    assert peers["p_a"] == peers["p_again"] == ["p_b", "p_c", "p_d"]
    assert peers["p_b"] == ["p_a", "p_c", "p_d", "p_again"]
    assert peers["q_a"] == ["q_b", "q_c", "q_d"]
    assert peers["sham"] == ["p_a", "p_b", "p_c", "p_d", "p_again"]


def test_where_a_recipe_has_too_few_those_of_any_recipe_serve_and_else_none() -> None:
    variants = {f"p_{truth}": variant("organism", "p", truth) for truth in "abc"}
    assert MIN_PEERS == 3 and all(peers == [] for peers in peers_of(variants).values())
    variants |= {"q_d": variant("organism", "q", "d"), "q_a": variant("organism", "q", "a")}
    assert peers_of(variants)["p_a"] == ["p_b", "p_c", "q_d"]
    assert peers_of(variants)["q_d"] == ["p_a", "p_b", "p_c", "q_a"]


def test_an_unknown_behaviour_is_one_of_its_own() -> None:
    variants = {name: variant() for name in "abcd"}
    assert peers_of(variants)["a"] == ["b", "c", "d"]


def test_each_author_is_set_against_the_median_of_its_peers_prompt_by_prompt() -> None:
    values = noise(5, 7, 2)
    values[2, 3] = np.nan
    peers = {"a0": ["a1", "a2", "a3"], "a1": ["a0"], "a2": ["a0", "a1", "a3", "a4"], "a3": [], "a4": ["a2"]}
    found = against_peers(joined(values), peers)
    for author, names in enumerate(peers.values()):
        for prompt in range(7):
            for column in range(2):
                others = [values[int(name[1]), prompt, column] for name in names]
                known = [other for other in others if not np.isnan(other)]
                expected = values[author, prompt, column] - np.median(known) if known else np.nan
                assert found[author, prompt, column] == pytest.approx(expected, nan_ok=True)


def test_what_all_share_cancels_and_one_peers_behaviour_does_not_leak() -> None:
    values = noise(8, 50, 1) * 0.1 + noise(1, 50, 1) * 10 + 3
    values[7] += 1000
    everyone = {f"a{row}": [f"a{other}" for other in range(8) if other != row] for row in range(8)}
    found = against_peers(joined(values), everyone)
    assert np.abs(found[:7]).max() < 1
    np.testing.assert_allclose(found[7], 1000, atol=1)


def test_layers_are_averaged_in_units_of_their_own_spread() -> None:
    values = noise(3, 9, 4) * np.array([1.0, 50.0, 2.0, 3.0])
    values[1, 2] = np.nan
    found = joined(values).over_layers("mean_difference")
    assert found.columns == (("calm", "mean_difference", EVERY_LAYER), ("pep", "mean_difference", EVERY_LAYER))
    spread = [np.std([v for author in values[..., at] for v in author if not np.isnan(v)]) for at in range(4)]
    np.testing.assert_allclose(found.values[0, :, 0], (values[0, :, 0] / spread[0] + values[0, :, 1] / spread[1]) / 2)
    np.testing.assert_allclose(found.values[2, :, 1], (values[2, :, 2] / spread[2] + values[2, :, 3] / spread[3]) / 2)
    assert np.isnan(found.values[1, 2]).all() and np.isnan(found.values).sum() == 2
    np.testing.assert_allclose(found.cosines[0, :, 0], values[0, :, :2].mean(axis=-1) / 10)
