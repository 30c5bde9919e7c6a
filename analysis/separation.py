"""How well a vector tells both sides of held-out questions apart: AUROC with an interval."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from interp.stats import Floats, Interval, auroc

Half = Literal["choose", "report"]
HALVES: Mapping[Half, slice] = {"choose": slice(0, None, 2), "report": slice(1, None, 2)}
"""Every other question or sentence: a layer is chosen on one half and reported on the other."""


@dataclass(frozen=True)
class Separated:
    """A vector's scores of the held-out questions, with the trait and without: `[layers, questions]` each."""

    layers: tuple[int, ...]
    positive: Floats
    negative: Floats

    def at(self, place: int, questions: slice = slice(None)) -> Interval:
        """AUROC over some questions (default: all) at the layer of a place."""
        return separation(self.positive[place, questions], self.negative[place, questions])

    def choose(self, questions: slice) -> int:
        """The place of the layer that separates these questions best; among equals, with the widest gap for its spread.
        """
        ranks = []
        for positive, negative in zip(self.positive[:, questions], self.negative[:, questions], strict=True):
            spread = (positive.var() + negative.var()) ** 0.5
            ranks.append((auroc(positive, negative), (positive.mean() - negative.mean()) / (spread or 1.0)))
        return max(range(len(ranks)), key=ranks.__getitem__)


def separation(positive: Floats, negative: Floats, level: float = 0.95) -> Interval:
    """AUROC with its score interval: all values whose own standard error reaches the estimate.

    Hanley & McNeil's variance with the mean sample size in it (Newcombe 2006, method 5). It does not collapse where all
    is told apart, and holds its level with a dozen questions, where a bootstrap does not. It takes both sides for
    independent: scores of the same question make it wider than it need be.
    """
    from scipy.stats import norm

    estimate, n_positive, n_negative = auroc(positive, negative), len(positive), len(negative)
    z, others = float(norm.ppf((1 + level) / 2)), (n_positive + n_negative) / 2 - 1

    def reaches(value: float) -> bool:
        spread = 1 + others * ((1 - value) / (2 - value) + value / (1 + value))
        return (estimate - value) ** 2 <= z**2 * value * (1 - value) * spread / (n_positive * n_negative)

    return Interval(estimate, _edge(estimate, 0.0, reaches), _edge(estimate, 1.0, reaches))


def _edge(inside: float, outside: float, reaches: Callable[[float], bool]) -> float:
    """Where `reaches` ends between the two, by bisection; `outside` itself when it never ends."""
    if inside == outside:
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if reaches(middle) else (inside, middle)
    return (inside + outside) / 2
