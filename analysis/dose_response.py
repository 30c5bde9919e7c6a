"""What steering does, dose by dose: the layer is chosen on one half of the texts and reported on the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.separation import HALVES, Half
from interp.stats import Floats, Interval, student_interval
from interp.steering_store import Steering


@dataclass(frozen=True)
class DoseResponse:
    """What a method's vectors and random directions of the same length do, at each layer and strength but 0.

    Attributes:
        directions: `vector` first, then the random ones.
        shift: log-odds of the text that shows the trait over its twin, steered minus not steered: `[directions,
            layers, strengths, items]`, nats per token.
        coherence: mean log-probability of neutral text, steered minus not steered: `[directions, layers, strengths]`,
            nats per token.
    """

    trait: str
    method: str
    directions: tuple[str, ...]
    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    shift: Floats
    coherence: Floats

    def slopes(self, half: Half) -> Floats:
        """Least squares through the origin of shift on strength, per text: `[directions, layers, items]`."""
        strengths = np.array(self.strengths)
        slopes: Floats = np.einsum("dlsi,s->dli", self.shift[..., HALVES[half]], strengths) / (strengths @ strengths)
        return slopes

    @property
    def chosen(self) -> int:
        """The place of the layer with the largest mean slope on the half that chooses."""
        return int(self.slopes("choose")[0].mean(axis=-1).argmax())

    def null_slopes(self) -> Floats:
        """What no better than random gives: `[2 × random directions]`.

        Each random direction, and its opposite, chooses its own best layer on the one half, as the vector does, and
        reports its mean slope there on the other.
        """
        choose, report = (self.slopes(half)[1:].mean(axis=-1) for half in ("choose", "report"))
        forward, backward = choose.argmax(axis=1)[:, None], choose.argmin(axis=1)[:, None]
        slopes = [np.take_along_axis(report, forward, axis=1), -np.take_along_axis(report, backward, axis=1)]
        return np.concatenate(slopes)[:, 0]

    @property
    def p(self) -> float:
        """The share of the null at or above the vector's slope at its chosen layer, counting itself."""
        slope = self.slopes("report")[0, self.chosen].mean()
        null = self.null_slopes()
        return float((1 + (null >= slope).sum()) / (1 + len(null)))

    @property
    def steers(self) -> bool:
        """Whether the vector moves texts towards the trait at its chosen layer: by an interval, and beyond chance."""
        return report_layer(self, self.chosen).slope.low > 0 and self.p < 0.05


@dataclass(frozen=True)
class SteeringResult:
    """What is reported of a method at one layer, on the half that did not choose. Slopes: nats per token and strength.

    Attributes:
        random_spread: root mean square of the random directions' mean slopes. Their expectation is 0: a direction is as
            likely as its opposite.
        random_largest: the largest of them, whatever its sign.
        coherence: change of neutral text at the lowest and the highest strength, nats per token.
    """

    slope: Interval
    random_spread: float
    random_largest: float
    coherence: tuple[float, float]


def report_layer(response: DoseResponse, place: int) -> SteeringResult:
    """The figures of the layer at a place, from the half that reports."""
    slopes = response.slopes("report")[:, place]
    controls = slopes[1:].mean(axis=-1)
    return SteeringResult(
        slope=student_interval(slopes[0]),
        random_spread=float(np.sqrt((controls**2).mean())),
        random_largest=float(np.abs(controls).max()),
        coherence=(float(response.coherence[0, place, 0]), float(response.coherence[0, place, -1])),
    )


def dose_responses(steering: Steering) -> list[DoseResponse]:
    """One for each method that was steered with."""
    values = _by_key(steering.rows.to_pylist())
    made = steering.provenance
    directions = ("vector", *(f"random-{index}" for index in range(made.n_random)))
    strengths = tuple(strength for strength in made.strengths if strength)
    n_items, n_neutral = len(made.items), len(made.neutral_items)

    def read(text: str, n: int, *push: Any) -> Floats:
        return np.array([values[*push, text, item] for item in range(n)])

    def log_odds(*push: Any) -> Floats:
        odds: Floats = read("shows", n_items, *push) - read("lacks", n_items, *push)
        return odds

    def neutral(*push: Any) -> float:
        return float(read("neutral", n_neutral, *push).mean())

    def over_pushes(method: str, of: Any) -> Floats:
        unsteered = of(None, None, None, 0.0)
        return np.array(
            [[[of(method, d, layer, s) - unsteered for s in strengths] for layer in made.layers] for d in directions]
        )

    return [
        DoseResponse(
            made.trait, method, directions, made.layers, strengths, over_pushes(method, log_odds),
            over_pushes(method, neutral),
        )
        for method in sorted(made.vectors)
    ]


def _by_key(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], float]:
    names = ("method", "direction", "layer", "strength", "text", "item")
    return {tuple(row[name] for name in names): float(row["log_probability"]) for row in rows}
