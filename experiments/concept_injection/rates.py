"""Rates by condition, layer and strength, with intervals, the control beside them, and differences from the controls.

Pure functions of judged trials. Shares are of the judged trials: what is unjudged is counted, and is in no rate; what
is incoherent or refused is judged, and claims nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from operator import add
from typing import Literal

import numpy as np

from experiments.concept_injection.claims import Accepted, Claim, JudgedTrial, names
from experiments.concept_injection.rate_intervals import by_clusters, difference
from experiments.concept_injection.request import CONTROL, INJECTED, Condition
from interp.judges.calibration import Counts as JudgeCounts
from interp.judges.calibration import corrected_rate
from interp.stats import Interval, wilson

Measure = Literal["claims", "named", "detected", "incoherent", "refused", "denied", "wrong_concept"]
MEASURES: tuple[Measure, ...] = ("detected", "named", "claims", "denied", "wrong_concept", "incoherent", "refused")
COMPARED: tuple[Measure, ...] = ("named", "claims")
"""What is set against the control and the random directions."""
MIN_CONCEPTS = 4
"""From so many concepts on, an interval of all together comes from resampling concepts."""


@dataclass(frozen=True)
class Tally:
    """Trials of a cell, by outcome. `claims`: any claim of a detection; `named`: one that names the file's concept.

    `named` of a control is a mean over concepts, so it need not be whole. `affirmed`: a detection is affirmed, also by
    what is incoherent or refused.
    """

    n: int = 0
    unjudged: int = 0
    detected: int = 0
    wrong_concept: int = 0
    denied: int = 0
    incoherent: int = 0
    refused: int = 0
    claims: int = 0
    named: float = 0
    affirmed: int = 0

    @property
    def judged(self) -> int:
        return self.n - self.unjudged

    def share(self, measure: Measure, level: float = 0.95) -> Interval:
        """Of the judged trials, with its Wilson interval; NaN and (0, 1) where none is judged.

        Of a mean over concepts (`named` of the control) it is wide enough: a mean of yes and no varies less than one
        yes or no with the same mean.
        """
        return wilson(getattr(self, measure), self.judged, level)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)))


@dataclass(frozen=True)
class Cell:
    """What rates are of; `concept` is None for all together, layer and strength None for all of them together."""

    condition: Condition
    layer: int | None
    strength: float | None
    concept: str | None


@dataclass(frozen=True)
class CellRates:
    """A cell's trials, and the trials that it is set against.

    Attributes:
        concepts: a tally for each concept that has trials here.
        control: trials without any injection, the same for all layers and strengths.
        random: trials at the same layer, strength and concepts, along random directions; None where there are none.
        calibration: of the judge, for the field claims_detection.
    """

    cell: Cell
    concepts: tuple[tuple[str, Tally], ...]
    control: Tally | None
    random: Tally | None
    calibration: JudgeCounts | None = None

    @cached_property
    def tally(self) -> Tally:
        return total(tally for _, tally in self.concepts)

    def rate(self, measure: Measure, level: float = 0.95) -> Interval:
        """The interval that is shown: by concepts where there are enough of them, else by trials."""
        return self.concept_interval(measure, level) or self.tally.share(measure, level)

    @property
    def interval_by(self) -> Literal["concepts", "trials"]:
        """What `rate` resamples, in effect."""
        return "concepts" if len(self._judged) >= MIN_CONCEPTS else "trials"

    def concept_interval(self, measure: Measure, level: float = 0.95) -> Interval | None:
        """The rate of all together as it would come out with other concepts like these; None below 4 of them.

        The trials of a concept share a vector. It is never narrower than the interval of the trials.
        """
        if len(self._judged) < MIN_CONCEPTS:
            return None
        hits = np.array([getattr(tally, measure) for tally in self._judged], dtype=float)
        between = by_clusters(hits, np.array([tally.judged for tally in self._judged], dtype=float), level)
        within = self.tally.share(measure, level)
        return Interval(within.estimate, min(between.low, within.low), max(between.high, within.high))

    def minus_control(self, measure: Measure, level: float = 0.95) -> Interval | None:
        """How much larger the share is than in the control; None where either has no judged trial."""
        return self._minus(self.control, measure, level)

    def minus_random(self, measure: Measure, level: float = 0.95) -> Interval | None:
        """How much larger the share is than along random directions; None where either has no judged trial."""
        return self._minus(self.random, measure, level)

    def corrected_affirmed(self) -> Interval | None:
        """The share that affirms a detection as people would have judged, by the calibration; None without one."""
        return corrected(self.tally, self.calibration)

    def corrected_minus_control(self) -> Interval | None:
        """`minus_control` of the corrected shares.

        Both are corrected by one calibration; that is taken for two, which makes the interval wider, if anything.
        """
        ours, theirs = self.corrected_affirmed(), corrected(self.control, self.calibration)
        return None if ours is None or theirs is None else difference(ours, theirs)

    @cached_property
    def _judged(self) -> list[Tally]:
        return [tally for _, tally in self.concepts if tally.judged]

    def _minus(self, other: Tally | None, measure: Measure, level: float) -> Interval | None:
        if other is None or not other.judged or not self.tally.judged:
            return None
        return difference(self.rate(measure, level), other.share(measure, level))


@dataclass(frozen=True)
class Rates:
    """All cells, of each concept and of all together, and the shared control."""

    cells: tuple[CellRates, ...]
    control: Tally

    def of(self, condition: Condition, layer: int | None, strength: float | None, concept: str | None) -> CellRates:
        """A cell (KeyError where there is none)."""
        return self._by_cell[Cell(condition, layer, strength, concept)]

    @cached_property
    def _by_cell(self) -> dict[Cell, CellRates]:
        return {each.cell: each for each in self.cells}


def find_rates(
    trials: Sequence[JudgedTrial], accepted: Accepted, calibration: JudgeCounts | None = None
) -> Rates:
    """Every cell that has trials: by concept and of all together, and each condition over all layers and strengths.

    Args:
        accepted: the words that name a concept: which control trials name one by chance is found here.
        calibration: of the judge, for the field claims_detection.
    """
    control = Controls([trial for trial in trials if trial.record.config.condition == CONTROL], accepted)
    tallies = tally_cells(trial for trial in trials if trial.record.config.condition != CONTROL)
    cells = [_cell_rates(cell, tallies, control, calibration) for cell in tallies]
    return Rates(tuple(sorted(cells, key=_order)), control.tally)


class Controls:
    """The control's trials, which belong to no concept: how often they name each."""

    def __init__(self, trials: Sequence[JudgedTrial], accepted: Accepted) -> None:
        self._trials, self._accepted = trials, accepted
        self._named: dict[str, int] = {}
        self.tally = total(tally_of(trial.claim) for trial in trials)

    def against(self, concepts: Sequence[tuple[str, Tally]]) -> Tally | None:
        """The control as it stands beside trials of these concepts: `named` is the mean over them, by their trials."""
        judged = sum(tally.judged for _, tally in concepts)
        if not self._trials or not judged:
            return self.tally if self._trials else None
        named = sum(self._named_by(concept) * tally.judged for concept, tally in concepts) / judged
        return replace(self.tally, named=named)

    def _named_by(self, concept: str) -> int:
        if concept not in self._named:
            said = [trial.claimed_concept for trial in self._trials]
            self._named[concept] = sum(names(each, concept, self._accepted) for each in said)
        return self._named[concept]


Tallies = Mapping[Cell, Mapping[str, Tally]]
"""By cell, a tally for each concept that has trials there."""


def tally_cells(trials: Iterable[JudgedTrial]) -> Tallies:
    """Trials counted by condition, layer and strength, and over all layers and strengths."""
    alike = Counter((trial.record.config.condition, trial.record.config.layer, trial.record.config.strength,
                     trial.record.concept or "", trial.claim) for trial in trials)  # fmt: skip
    counted: dict[Cell, dict[str, Tally]] = defaultdict(dict)
    for (condition, layer, strength, concept, claim), times in alike.items():
        tally = tally_of(claim, times)
        own, whole = Cell(condition, layer, strength, concept), Cell(condition, None, None, concept)
        for cell in (own, whole, replace(own, concept=None), replace(whole, concept=None)):
            counted[cell][concept] = counted[cell].get(concept, Tally()) + tally
    return counted


def total(tallies: Iterable[Tally]) -> Tally:
    return reduce(add, tallies, Tally())


def tally_of(claim: Claim, times: int = 1) -> Tally:
    """So many trials with one and the same claim."""
    counts = {"claims": claim.claims, "named": claim.names_concept, "affirmed": claim.affirms, claim.outcome: True}
    return Tally(n=times, **{name: times * counted for name, counted in counts.items()})


def _cell_rates(
    cell: Cell, tallies: Tallies, control: Controls, calibration: JudgeCounts | None
) -> CellRates:
    concepts = tuple(sorted(tallies[cell].items()))
    along_random = tallies.get(replace(cell, condition="random")) if cell.condition != "random" else None
    random = None if along_random is None else total(along_random.values())
    return CellRates(cell, concepts, control.against(concepts), random, calibration)


def _order(each: CellRates) -> tuple[object, ...]:
    """All layers and all concepts together come first."""
    cell = each.cell
    layer = -1 if cell.layer is None else cell.layer
    return cell.concept or "", INJECTED.index(cell.condition), layer, cell.strength or 0.0


def corrected(tally: Tally | None, calibration: JudgeCounts | None) -> Interval | None:
    """The share that affirms a detection, corrected for the judge's errors; None where it cannot be."""
    if tally is None or calibration is None or not tally.judged:
        return None
    found = corrected_rate(tally.affirmed, tally.judged, calibration)
    return Interval(found.value, min(found.low, found.value), max(found.high, found.value))
