"""Trait vectors: directions fitted to residuals read with a trait and without it. Opens no file, loads no model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.records import Provenance

Samples = Float[Tensor, "_samples d_model"]
Fit = Callable[[Samples, Samples], Float[Tensor, " d_model"]]
"""A method: (samples with the trait, samples without it) to a direction, in residual units, pointing to the trait."""


@dataclass(frozen=True)
class TraitVector:
    """One direction per layer, with the class means that it was fitted to."""

    directions: Float[Tensor, "layers d_model"]
    positive_mean: Float[Tensor, "layers d_model"]
    negative_mean: Float[Tensor, "layers d_model"]
    provenance: Provenance

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


METHODS: Mapping[str, Fit] = {"mean_difference": mean_difference, "logistic_probe": logistic_probe}


def unit(directions: Float[Tensor, "*layers d_model"]) -> Float[Tensor, "*layers d_model"]:
    """Directions of length one."""
    return torch.nn.functional.normalize(directions, dim=-1)


def project(
    resid: Float[Tensor, "tokens d_model"], directions: Float[Tensor, "k d_model"]
) -> Float[Tensor, "k tokens"]:
    """`resid · v / |v|` for every direction and token, in residual units; computed in float32."""
    return unit(directions.float()) @ resid.float().T
