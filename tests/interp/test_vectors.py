"""Directions: what the formulas say, and where one method must beat another."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.stats import norm
from torch import Tensor

from interp.records import Provenance
from interp.stats import auroc
from interp.vectors import (
    METHODS,
    TraitVector,
    draw_null_directions,
    ledoit_wolf_shrinkage,
    logistic_probe,
    mean_difference,
    pca_of_differences,
    project,
    unit,
    whitened_mean_difference,
)
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


def shared_question(n: int, shift: Tensor, mixing: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Pairs that share most of their noise, as two readings of one question do."""
    positive, negative = draw(n, torch.zeros(D), mixing, seed)
    return positive + shift, positive + 0.1 * negative


def test_pca_is_the_leading_eigenvector_of_the_mean_square_difference() -> None:
    positive, negative = shared_question(300, 0.3 * world("anisotropic")[0], world("anisotropic")[1], seed=1)
    differences = (positive - negative).double()
    values, axes = np.linalg.eigh((differences.T @ differences).numpy())
    found = pca_of_differences(positive, negative).double()
    assert abs(float(unit(found) @ torch.from_numpy(axes[:, values.argmax()]))) == pytest.approx(1, abs=1e-5)
    assert float(found @ differences.mean(dim=0)) == pytest.approx(float(found @ found), rel=1e-4) and found.any()


def test_pca_is_not_centred_and_needs_only_what_pairs_do_not_share() -> None:
    shift, mixing = world("anisotropic")
    pairs = shared_question(300, shift, mixing, seed=1)
    unshared = torch.stack([pairs[0], pairs[1][torch.randperm(300, generator=torch.Generator().manual_seed(0))]])
    assert cosine(pca_of_differences(*pairs), shift) > 0.9 > cosine(pca_of_differences(*unshared), shift) + 0.05
    constant = torch.randn(40, D)
    assert cosine(pca_of_differences(constant + shift, constant), shift) > 0.9999, "centred, nothing would be left"


def test_pca_turns_with_the_classes_and_refuses_what_is_not_paired() -> None:
    positive, negative = shared_question(100, *world("isotropic"), seed=1)
    found = pca_of_differences(positive, negative)
    torch.testing.assert_close(pca_of_differences(negative, positive), -found)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(pca_of_differences(positive[order], negative[order]), found)
    with pytest.raises(ValueError, match="paired differences of 100 and 99 samples"):
        pca_of_differences(positive, negative[1:])


@pytest.mark.parametrize("n", [4, 15, 200])
def test_shrinkage_is_that_of_sklearn(n: int) -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage as theirs

    samples = (torch.randn(n, D, generator=torch.Generator().manual_seed(n)) @ world("anisotropic")[1]).double()
    assert ledoit_wolf_shrinkage(samples) == pytest.approx(theirs(samples.numpy(), assume_centered=True), rel=1e-9)


@pytest.mark.parametrize("n", [6, 300])
def test_whitened_direction_is_sklearns_discriminant(n: int) -> None:
    """Σ⁻¹ δ with the whole matrix; with more dimensions than samples too."""
    from sklearn.covariance import LedoitWolf

    positive, negative = draw(n, *world("anisotropic"), seed=1)
    within = torch.cat([positive - positive.mean(0), negative - negative.mean(0)]).double().numpy()
    difference = mean_difference(positive, negative)
    covariance = LedoitWolf(assume_centered=True).fit(within).covariance_
    expected = unit(torch.from_numpy(np.linalg.solve(covariance, difference.double().numpy())))
    found = whitened_mean_difference(positive, negative).double()
    torch.testing.assert_close(unit(found), expected, rtol=1e-4, atol=1e-5)
    assert float(found.norm()) == pytest.approx(float(difference.double() @ expected), rel=1e-4)


def test_whitened_direction_is_the_best_where_the_mean_difference_is_off() -> None:
    shift, mixing = world("anisotropic")
    train, held_out = draw(4000, shift, mixing, seed=1), draw(4000, shift, mixing, seed=2)
    best = bayes(shift, mixing)
    whitened = whitened_mean_difference(*train)
    assert cosine(whitened, best) > 0.97 > 0.6 > cosine(mean_difference(*train), best)
    ceiling = float(norm.cdf(float(shift @ best) ** 0.5 / 2**0.5))
    assert ceiling - 0.02 < separation(whitened, *held_out) < ceiling + 0.02


def test_whitened_direction_turns_with_the_space_and_does_not_move_with_it() -> None:
    positive, negative = draw(30, *world("anisotropic"), seed=1)
    found = whitened_mean_difference(positive, negative)
    rotation = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(3))).Q
    turned = whitened_mean_difference(positive @ rotation, negative @ rotation)
    torch.testing.assert_close(turned, found @ rotation, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(whitened_mean_difference(3 * positive + 7, 3 * negative + 7), 3 * found, rtol=1e-3,
                               atol=1e-4)  # fmt: skip
    torch.testing.assert_close(whitened_mean_difference(negative, positive), -found)


def test_whitened_direction_without_any_spread_is_the_mean_difference() -> None:
    positive, negative = torch.ones(3, D), torch.zeros(2, D)
    assert torch.equal(whitened_mean_difference(positive, negative), torch.ones(D))
    mirrored = torch.cat([torch.ones(1, D), -torch.ones(1, D)])
    assert bool(whitened_mean_difference(mirrored + 1, mirrored).isfinite().all())


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


def test_null_directions_have_the_covariance_within_the_classes() -> None:
    """100,000 draws; the difference of the classes, however large, is in none of them."""
    torch.manual_seed(0)
    scale = torch.tensor([3.0, 1.0, 0.1])
    positive, negative = torch.randn(20, 2, 3) * scale + 100, torch.randn(20, 2, 3) * scale
    drawn = draw_null_directions(positive, negative, "pep", count=100_000).double()
    within = torch.cat([positive - positive.mean(dim=0), negative - negative.mean(dim=0)]).double()
    for a, b in ((0, 0), (1, 1), (0, 1)):  # and between layers: a direction is one thing at all of them
        expected = within[:, a].T @ within[:, b] / len(within)
        torch.testing.assert_close(drawn[:, a].T @ drawn[:, b] / len(drawn), expected, rtol=0.02, atol=0.06)
    assert float(drawn.mean(dim=0).abs().max()) < 0.05


def test_null_directions_belong_to_a_name() -> None:
    samples = torch.randn(6, 2, 3)
    assert torch.equal(draw_null_directions(samples, -samples, "a"), draw_null_directions(samples, -samples, "a"))
    assert not torch.equal(draw_null_directions(samples, -samples, "a"), draw_null_directions(samples, -samples, "b"))
