"""Trait vectors: directions fitted to residuals read with a trait and without it. Opens no file, loads no model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.records import Provenance

Samples = Float[Tensor, "_samples d_model"]
Fit = Callable[[Samples, Samples], Float[Tensor, " d_model"]]
"""A method: (samples with the trait, samples without it) to a direction, in residual units, pointing to the trait.

Row i of both belongs to the same question."""


N_NULL_DIRECTIONS = 16
"""How many random directions are kept with a vector."""


@dataclass(frozen=True)
class TraitVector:
    """One direction per layer, with the class means that it was fitted to, and directions to hold it against.

    `null_directions` are random, with the covariance of the residuals that the vector was fitted to: see
    `draw_null_directions`. Vectors from elsewhere may have none.
    """

    directions: Float[Tensor, "layers d_model"]
    positive_mean: Float[Tensor, "layers d_model"]
    negative_mean: Float[Tensor, "layers d_model"]
    provenance: Provenance
    null_directions: Float[Tensor, "null layers d_model"] | None = field(default=None)

    @property
    def trait(self) -> str:
        return self.provenance.trait

    @property
    def method(self) -> str:
        return self.provenance.method

    @property
    def layers(self) -> tuple[int, ...]:
        return self.provenance.layers

    def at(self, layer: int) -> Float[Tensor, " d_model"]:
        """The direction at a layer."""
        return self.directions[self.layers.index(layer)]

    def null_at(self, layer: int) -> Float[Tensor, "null d_model"]:
        """The random directions at a layer; none where none were kept."""
        if self.null_directions is None:
            return self.directions[:0]
        at_layer: Tensor = self.null_directions[:, self.layers.index(layer)]
        return at_layer


def mean_difference(positive: Samples, negative: Samples) -> Float[Tensor, " d_model"]:
    """Mean with the trait minus mean without it (Rimsky et al. 2024, contrastive activation addition)."""
    return positive.mean(dim=0) - negative.mean(dim=0)


def logistic_probe(positive: Samples, negative: Samples) -> Float[Tensor, " d_model"]:
    """The normal of a ridge-penalised logistic regression on standardised residuals, in residual units.

    Scaled to the length of the mean difference along it, so that one unit of strength means about the same.
    """
    from sklearn.linear_model import LogisticRegression

    samples = torch.cat([positive, negative]).double().numpy()
    labels = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    scale = samples.std(axis=0) + 1e-6 * samples.std()
    fitted = LogisticRegression(C=1.0 / samples.shape[1], max_iter=2000).fit(samples / scale, labels)
    normal: Tensor = unit(torch.from_numpy(fitted.coef_[0] / scale).to(positive.dtype))
    return normal * (mean_difference(positive, negative) @ normal).abs()


def pca_of_differences(positive: Samples, negative: Samples) -> Float[Tensor, " d_model"]:
    """The direction along which the paired differences have the largest mean square, pointing as their mean does.

    Not centred: a difference that all pairs share counts (Zou et al. 2023, representation reading). Row i of both is
    the same question. Scaled to the length of the mean difference along it.
    """
    if len(positive) != len(negative):
        raise ValueError(f"paired differences of {len(positive)} and {len(negative)} samples")
    axis = torch.linalg.svd((positive - negative).double(), full_matrices=False).Vh[0]
    return _along(axis, positive, negative)


def whitened_mean_difference(positive: Samples, negative: Samples) -> Float[Tensor, " d_model"]:
    """Σ⁻¹ (mean with the trait − mean without it): Fisher's linear discriminant, in residual units.

    Σ is the covariance within the classes, pooled, shrunk towards a multiple of the identity (Ledoit & Wolf 2004).
    Scaled to the length of the mean difference along it.
    """
    within = torch.cat([positive - positive.mean(dim=0), negative - negative.mean(dim=0)]).double()
    if not within.any():
        return mean_difference(positive, negative)
    return _along(_solve_shrunk(within, mean_difference(positive, negative).double()), positive, negative)


def draw_null_directions(
    positive: Float[Tensor, "_samples layers d_model"],
    negative: Float[Tensor, "_samples layers d_model"],
    name: str,
    count: int = N_NULL_DIRECTIONS,
) -> Float[Tensor, "count layers d_model"]:
    """Random directions whose covariance is that of the residuals within the two classes.

    A Gaussian mixture of the centred samples, Xᵀz/√n with z ~ N(0, I), has the covariance XᵀX/n of the samples, and no
    d × d matrix is needed. The same z is used at every layer, so that a random direction is one thing seen at all
    layers, as a trait is. Which z depends on `name` alone.
    """
    within = torch.cat([positive - positive.mean(dim=0), negative - negative.mean(dim=0)]).double()
    drawn = np.random.default_rng(list(name.encode())).standard_normal((count, len(within)))
    mixed = torch.einsum("kn,nld->kld", torch.from_numpy(drawn), within) / len(within) ** 0.5
    directions: Tensor = mixed.to(positive.dtype)
    return directions


def ledoit_wolf_shrinkage(centred: Samples) -> float:
    """The share ρ of the identity in (1 − ρ) S + ρ (tr S / d) I that is nearest to the true covariance in expectation.

    S is the second moment of `centred`; Ledoit & Wolf 2004, from the samples' Gram matrix, so that no d × d matrix is
    needed.
    """
    n, d = centred.shape
    gram = centred @ centred.T / n
    trace, square = float(gram.trace()), float(gram.square().sum())
    spread = square - trace**2 / d
    error = float(gram.diagonal().square().sum()) - square / n
    return min(max(error, 0.0), spread) / spread if spread > 0 else 1.0


def _solve_shrunk(centred: Samples, target: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """Σ⁻¹ target up to a positive factor, Σ shrunk from the second moment of `centred`; by Woodbury's identity."""
    n, d = centred.shape
    shrinkage = max(ledoit_wolf_shrinkage(centred), 1e-6)  # pairs mirrored at their mean have none: S may be singular
    if shrinkage == 1.0:
        return target
    ridge = shrinkage / (1 - shrinkage) * float(centred.square().sum()) / d
    inner = centred @ centred.T + ridge * torch.eye(n, dtype=centred.dtype)
    solved: Tensor = target - centred.T @ torch.linalg.solve(inner, centred @ target)
    return solved


def _along(axis: Float[Tensor, " d_model"], positive: Samples, negative: Samples) -> Float[Tensor, " d_model"]:
    """The part of the mean difference along an axis: its sign and its length come from there."""
    normal = unit(axis)
    along: Tensor = (mean_difference(positive, negative).double() @ normal) * normal
    return along.to(positive.dtype)


METHODS: Mapping[str, Fit] = {
    "mean_difference": mean_difference,
    "logistic_probe": logistic_probe,
    "pca_of_differences": pca_of_differences,
    "whitened_mean_difference": whitened_mean_difference,
}


def unit(directions: Float[Tensor, "*layers d_model"]) -> Float[Tensor, "*layers d_model"]:
    """Directions of length one."""
    return torch.nn.functional.normalize(directions, dim=-1)


def project(
    resid: Float[Tensor, "tokens d_model"], directions: Float[Tensor, "k d_model"]
) -> Float[Tensor, "k tokens"]:
    """`resid · v / |v|` for every direction and token, in residual units; computed in float32."""
    return unit(directions.float()) @ resid.float().T
