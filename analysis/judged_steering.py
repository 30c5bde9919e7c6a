"""What a judge's scores of steered replies say: layer and strength are chosen on one half of the questions and reported
on the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.separation import HALVES, Half
from interp.stats import Floats, Interval, student_interval
from interp.steering_store import ResponsesProvenance

MIN_COHERENCE = 50.0
"""Of 100: a layer and strength are chosen only where the mean coherence is no less."""


@dataclass(frozen=True)
class Scores:
    """A judge's scores of replies, 0 to 100, the questions on the last axis; NaN where a reply is unjudged."""

    trait: Floats
    coherence: Floats

    def at(self, place: Any) -> "Scores":
        """Those at an index of both arrays."""
        return Scores(self.trait[place], self.coherence[place])

    @property
    def n_unjudged(self) -> int:
        return int(np.isnan(self.trait).sum())


@dataclass(frozen=True)
class Place:
    """Indices of a layer and of a strength."""

    layer: int
    strength: int


@dataclass(frozen=True)
class JudgedSteering:
    """What a judge said of replies under a method's vectors and under random directions of the same length.

    Attributes:
        directions: `vector` first, then the random ones.
        strengths: without 0.
        steered: `[directions, layers, strengths, questions]`.
        unsteered: `[questions]`, the same for all methods of a trait.
    """

    trait: str
    method: str
    directions: tuple[str, ...]
    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    steered: Scores
    unsteered: Scores

    @property
    def n_questions(self) -> int:
        return len(self.unsteered.trait)

    @property
    def n_unjudged(self) -> int:
        """Replies without a verdict, steered and not."""
        return self.steered.n_unjudged + self.unsteered.n_unjudged

    @property
    def chosen(self) -> Place | None:
        """Where the trait scores highest on the half that chooses: the first of equals in order of layer and strength.

        Only strengths above 0 count, since a vector points to its trait, and only where the mean coherence on that half
        is `MIN_COHERENCE` or more. None where there is no such place, or nothing of it is judged.
        """
        chooses = self.steered.at((0, ..., HALVES["choose"]))
        trait, coherence = judged_mean(chooses.trait), judged_mean(chooses.coherence)
        allowed = (coherence >= MIN_COHERENCE) & (np.array(self.strengths) > 0)
        if not allowed.any():
            return None
        layer, strength = np.unravel_index(np.where(allowed, trait, -np.inf).argmax(), trait.shape)
        return Place(int(layer), int(strength))


@dataclass(frozen=True)
class JudgedResult:
    """What is reported of a vector at one layer and strength. An interval is None where nothing of it is judged.

    Attributes:
        random: the trait under random directions at the same layer and strength, their mean for each question.
        over_unsteered, over_random: by how much the trait scores higher than without steering, and than under random
            directions: differences question by question, of those judged on both sides.
    """

    trait: Interval | None
    coherence: Interval | None
    unsteered: Interval | None
    random: Interval | None
    over_unsteered: Interval | None
    over_random: Interval | None

    @property
    def shows(self) -> bool:
        """Whether steering makes the trait show more than no steering does and than random directions do."""
        return all(each is not None and each.low > 0 for each in (self.over_unsteered, self.over_random))


def report_place(judged: JudgedSteering, place: Place, half: Half = "report") -> JudgedResult:
    """The figures of a layer and strength, from one half of the questions."""
    here = judged.steered.at((slice(None), place.layer, place.strength, HALVES[half]))
    unsteered = judged.unsteered.trait[HALVES[half]]
    random = judged_mean(here.trait[1:].T)
    return JudgedResult(
        trait=judged_interval(here.trait[0]),
        coherence=judged_interval(here.coherence[0]),
        unsteered=judged_interval(unsteered),
        random=judged_interval(random),
        over_unsteered=judged_interval(here.trait[0] - unsteered),
        over_random=judged_interval(here.trait[0] - random),
    )


def judged_mean(values: Floats) -> Floats:
    """The mean over the last axis of what is judged; NaN where nothing is."""
    there = ~np.isnan(values)
    counts = there.sum(axis=-1)
    means: Floats = np.full(counts.shape, np.nan)
    np.divide(np.where(there, values, 0.0).sum(axis=-1), counts, out=means, where=counts > 0)
    return means


def judged_interval(values: Floats) -> Interval | None:
    """The mean of what is judged, with its t interval over questions; None where nothing is."""
    judged = values[~np.isnan(values)]
    return student_interval(judged) if len(judged) else None


def judged_steerings(
    made: ResponsesProvenance, rows: Sequence[Mapping[str, Any]], scores: Scores, methods: Sequence[str]
) -> list[JudgedSteering]:
    """One for each of the methods.

    Args:
        rows: of `interp.steering_store.RESPONSES`; those of the methods and those without steering at least.
        scores: of each row.
    """
    names = ("method", "direction", "layer", "strength", "item")
    index = {tuple(row[name] for name in names): number for number, row in enumerate(rows)}
    directions = ("vector", *(f"random-{number}" for number in range(made.n_random)))
    strengths = tuple(strength for strength in made.strengths if strength)

    def under(*push: Any) -> list[int]:
        return [index[*push, item] for item in range(len(made.questions))]

    def steered(method: str) -> Scores:
        places = [[[under(method, d, layer, s) for s in strengths] for layer in made.layers] for d in directions]
        return scores.at(np.array(places, dtype=int))

    unsteered = scores.at(np.array(under(None, None, None, 0.0)))
    return [
        JudgedSteering(made.trait, method, directions, made.layers, strengths, steered(method), unsteered)
        for method in methods
    ]
