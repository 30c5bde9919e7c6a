"""How far vectors of one trait point the same way: cosines between methods, and between layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from interp.stats import Floats


@dataclass(frozen=True)
class Agreement:
    """The cosine of two of a trait's vectors: two methods at a layer, or two layers of a method."""

    trait: str
    method: str
    layer: int
    other_method: str
    other_layer: int
    cosine: float


def agreements(trait: str, directions: Sequence[tuple[str, int, Floats]]) -> list[Agreement]:
    """All pairs that share method or layer, of a trait's (method, layer, direction)."""
    return [
        Agreement(trait, method, layer, other_method, other_layer, cosine(one, other))
        for (method, layer, one), (other_method, other_layer, other) in combinations(directions, 2)
        if method == other_method or layer == other_layer
    ]


def cosine(one: Floats, other: Floats) -> float:
    """nan where either is zero."""
    lengths = float(np.linalg.norm(one.astype(float)) * np.linalg.norm(other.astype(float)))
    return float(one.astype(float) @ other.astype(float)) / lengths if lengths else float("nan")
