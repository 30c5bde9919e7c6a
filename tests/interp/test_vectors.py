"""Directions: what the formulas say, and where one method must beat another."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.stats import norm
from torch import Tensor

from interp.records import Provenance
from interp.stats import auroc
from interp.vectors import METHODS, TraitVector, logistic_probe, mean_difference, project, unit
from tests import oracles

D = 24


def draw(n: int, shift: Tensor, mixing: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Two normal classes `shift` apart, with covariance `mixing · mixingᵀ`."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, n, D, generator=generator) @ mixing.T
    return noise[0] + shift / 2, noise[1] - shift / 2


def world(kind: str) -> tuple[Tensor, Tensor]:
    """A planted shift, and how noise is mixed: alike in all directions, or very strong along one near the shift."""
    shift = unit(torch.randn(D, generator=torch.Generator().manual_seed(5)))
    if kind == "isotropic":
        return shift, torch.eye(D)
    loud = unit(shift + 0.8 * unit(torch.randn(D, generator=torch.Generator().manual_seed(6))))
    return shift, torch.eye(D) * 0.3 + 4.0 * torch.outer(loud, loud)


def bayes(shift: Tensor, mixing: Tensor) -> Tensor:
    """Σ⁻¹ shift: the normal of the best boundary between two normal classes of equal covariance."""
    return torch.as_tensor(torch.linalg.solve(mixing @ mixing.T, shift))


def cosine(one: Tensor, other: Tensor) -> float:
    return float(unit(one) @ unit(other))


def separation(direction: Tensor, positive: Tensor, negative: Tensor) -> float:
    return auroc((positive @ direction).numpy(), (negative @ direction).numpy())


def test_mean_difference_is_the_difference_of_means() -> None:
    positive, negative = torch.tensor([[1.0, 2.0], [3.0, 6.0]]), torch.tensor([[1.0, 1.0]])
    assert mean_difference(positive, negative).tolist() == [1.0, 3.0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
def test_methods_find_a_planted_direction(method: str, kind: str) -> None:
    shift, mixing = world(kind)
    found = METHODS[method](*draw(2000, shift, mixing, seed=1))
    held_out = draw(2000, shift, mixing, seed=2)
    assert separation(found, *held_out) > 0.55
    assert found.dtype == torch.float32 and found.shape == (D,)
    nothing = METHODS[method](*draw(2000, torch.zeros(D), mixing, seed=3))
    assert abs(separation(nothing, *draw(2000, torch.zeros(D), mixing, seed=4)) - 0.5) < 0.04


def test_probe_is_near_the_best_direction_where_the_mean_difference_is_off() -> None:
    shift, mixing = world("anisotropic")
    train, held_out = draw(4000, shift, mixing, seed=1), draw(4000, shift, mixing, seed=2)
    best = bayes(shift, mixing)
    probe, difference = logistic_probe(*train), mean_difference(*train)
    assert cosine(probe, best) > 0.97
    assert cosine(difference, best) < 0.6
    ceiling = float(norm.cdf(float(shift @ best) ** 0.5 / 2**0.5))
    assert ceiling - 0.02 < separation(probe, *held_out) < ceiling + 0.02
    assert separation(difference, *held_out) < ceiling - 0.1


def test_both_agree_where_noise_is_alike_in_all_directions() -> None:
    shift, mixing = world("isotropic")
    train = draw(4000, shift, mixing, seed=1)
    assert cosine(logistic_probe(*train), mean_difference(*train)) > 0.97


def test_probe_has_the_length_of_the_mean_difference_along_it() -> None:
    shift, mixing = world("anisotropic")
    train = draw(500, shift, mixing, seed=1)
    probe = logistic_probe(*train)
    assert float(probe.norm()) == pytest.approx(abs(float(mean_difference(*train) @ unit(probe))), rel=1e-4)
    assert cosine(logistic_probe(*reversed(train)), probe) == pytest.approx(-1, abs=1e-3)


def test_probe_does_not_depend_on_the_units_of_each_dimension() -> None:
    """Massive dimensions are not penalised less: x -> a x gives v -> v / a."""
    shift, mixing = world("anisotropic")
    positive, negative = draw(500, shift, mixing, seed=1)
    units = torch.ones(D)
    units[3], units[7] = 100.0, 0.05
    rescaled = logistic_probe(positive * units, negative * units)
    assert cosine(rescaled * units, logistic_probe(positive, negative)) > 0.999


def test_probe_survives_a_dimension_that_never_varies() -> None:
    shift, mixing = world("isotropic")
    positive, negative = draw(200, shift, mixing, seed=1)
    positive[:, 0] = negative[:, 0] = 7.0
    probe = logistic_probe(positive, negative)
    assert bool(probe.isfinite().all()) and abs(float(unit(probe)[0])) < 0.01


def test_projections_are_a_four_line_loop() -> None:
    resid, directions = torch.randn(9, D) * 20, torch.randn(3, D) * torch.tensor([[0.01], [1.0], [300.0]])
    expected = torch.tensor(oracles.projections(resid, directions))
    torch.testing.assert_close(project(resid, directions), expected)
    assert not torch.allclose(resid @ directions.T, expected.T, rtol=0.1)
    halves = [(resid.to(dtype), directions) for dtype in (torch.float16, torch.bfloat16)]
    for half, given in halves:
        assert project(half, given).dtype == torch.float32
        torch.testing.assert_close(project(half, given), torch.tensor(oracles.projections(half, given)))


def test_projections_of_float16_do_not_overflow() -> None:
    resid = torch.full((1, D), 60_000.0, dtype=torch.float16)
    assert float(project(resid, torch.ones(1, D, dtype=torch.float16))) == pytest.approx(60_000 * D**0.5, rel=1e-3)


def test_unit_has_length_one() -> None:
    assert np.allclose(unit(torch.randn(4, 5, D)).norm(dim=-1), 1.0)
    assert unit(torch.zeros(D)).tolist() == [0.0] * D


def test_a_vector_is_found_by_its_layer() -> None:
    provenance = Provenance(
        trait="pep", method="m", contrast="same-text", positions="all", model="b", revision=None, identity="i",
        layers=(3, 8), norms=(1.0, 1.0), n_pairs=1, n_held_out=1, held_out_auroc=(1.0, 1.0), data_hash="h",
    )  # fmt: skip
    directions = torch.randn(2, D)
    vector = TraitVector(directions, directions, directions, provenance)
    assert (vector.trait, vector.method, vector.layers) == ("pep", "m", (3, 8))
    assert torch.equal(vector.at(8), directions[1])


def test_shapes_are_checked_in_tests() -> None:
    """That is, the import hook of conftest.py is at work."""
    with pytest.raises(TypeCheckError):
        project(torch.zeros(D), torch.zeros(3, D))
    with pytest.raises(TypeCheckError):
        project(torch.zeros(2, D), torch.zeros(3, D + 1))
