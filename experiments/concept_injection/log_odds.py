"""What injection does to the log-odds of yes over no, before any sampling or judge: shifts, less a mere bias to yes.

Pure functions of readouts. A shift is the log-odds of a push less those of the control, on the same question, in nats.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from experiments.concept_injection.request import CONTROL, INJECTED, Condition
from experiments.concept_injection.trials import ReadoutRecord
from interp.stats import Interval, student_interval

DETECTION = "detection"
"""The question of the sweep; all others are yes-bias questions, whose right answer is no."""


@dataclass(frozen=True)
class PushShift:
    """What one push does: on the question of the sweep, on the yes-bias questions (mean), and the one less the other.

    `yes_bias` is None where no yes-bias question was asked; `corrected` is then the bare shift.
    """

    log_odds: float
    shift: float
    yes_bias: float | None

    @property
    def corrected(self) -> float:
        return self.shift - (self.yes_bias or 0.0)


@dataclass(frozen=True)
class LogOddsCell:
    """A condition, layer and strength, of a concept or (None) the mean over concepts.

    Attributes:
        n: pushes that the means are of.
        corrected: shift less yes-bias shift; with an interval over concepts (Student's t) where there are several.
        random_low, random_high: the least and largest `corrected` of the random directions, averaged over the same
            concepts; None where there are none.
        n_random: how many random directions these are.
    """

    condition: Condition
    layer: int
    strength: float
    concept: str | None
    n: int
    log_odds: float
    shift: float
    yes_bias: float | None
    corrected: float
    interval: Interval | None
    random_low: float | None
    random_high: float | None
    n_random: int

    @property
    def beyond_random(self) -> bool | None:
        """Whether it is larger than along every random direction, which by chance happens in one of n_random + 1."""
        return None if self.random_high is None else self.corrected > self.random_high


Key = tuple[Condition, int, float]
Shifts = Mapping[Key, Mapping[str, Mapping[str, PushShift]]]
"""By condition, layer and strength; then by concept; then by direction."""


def find_shifts(readouts: Sequence[ReadoutRecord]) -> list[LogOddsCell]:
    """Every cell, all concepts together first; empty without readouts of the control or of any push."""
    shifts = push_shifts(readouts)
    cells = []
    for (condition, layer, strength), by_concept in shifts.items():
        random = shifts.get(("random", layer, strength), {}) if condition != "random" else {}
        for concept in (None, *by_concept):
            chosen = by_concept if concept is None else {concept: by_concept[concept]}
            nulls = random_means(random, list(chosen))
            cells.append(_cell((condition, layer, strength), concept, chosen, nulls))
    return sorted(cells, key=_order)


def push_shifts(readouts: Iterable[ReadoutRecord]) -> Shifts:
    """The shift of every push that was read on the sweep's question; none where the control was not."""
    asked: dict[tuple[Key, str, str], dict[str, float]] = defaultdict(dict)
    control: dict[str, float] = {}
    for each in readouts:
        if each.condition == CONTROL or each.layer is None:
            control[each.question] = each.log_odds
        else:
            key = (each.condition, each.layer, each.strength)
            asked[key, each.concept or "", each.direction or ""][each.question] = each.log_odds
    found: dict[Key, dict[str, dict[str, PushShift]]] = defaultdict(lambda: defaultdict(dict))
    for (key, concept, direction), odds in asked.items():
        if DETECTION in odds and DETECTION in control:
            found[key][concept][direction] = _push_shift(odds, control)
    return found


def random_means(random: Mapping[str, Mapping[str, PushShift]], concepts: Sequence[str]) -> list[float]:
    """`corrected` of each random direction, averaged over concepts: as many draws as there are directions."""
    of_concepts = [random[concept] for concept in concepts if concept in random]
    shared = sorted(set.intersection(*(set(each) for each in of_concepts))) if of_concepts else []
    return [fmean(each[name].corrected for each in of_concepts) for name in shared]


def _push_shift(odds: Mapping[str, float], control: Mapping[str, float]) -> PushShift:
    shifts = {question: value - control[question] for question, value in odds.items() if question in control}
    shift = shifts.pop(DETECTION)
    return PushShift(odds[DETECTION], shift, fmean(shifts.values()) if shifts else None)


def _cell(
    key: Key, concept: str | None, by_concept: Mapping[str, Mapping[str, PushShift]], nulls: Sequence[float]
) -> LogOddsCell:
    pushes = [shift for directions in by_concept.values() for shift in directions.values()]
    biases = [each.yes_bias for each in pushes if each.yes_bias is not None]
    means = np.array([fmean(each.corrected for each in directions.values()) for directions in by_concept.values()])
    return LogOddsCell(
        *key, concept, len(pushes),
        log_odds=fmean(each.log_odds for each in pushes), shift=fmean(each.shift for each in pushes),
        yes_bias=fmean(biases) if biases else None, corrected=float(means.mean()),
        interval=student_interval(means) if len(means) > 1 else None,
        random_low=min(nulls, default=None), random_high=max(nulls, default=None), n_random=len(nulls),
    )  # fmt: skip


def _order(each: LogOddsCell) -> tuple[object, ...]:
    return each.concept or "", INJECTED.index(each.condition), each.layer, each.strength
