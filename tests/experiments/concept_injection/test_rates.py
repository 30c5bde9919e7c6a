"""Rates come back: planted worlds, a worked example, few clusters, unjudged trials, log-odds."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest

from experiments.concept_injection.claims import JudgedTrial, judged_trial
from experiments.concept_injection.log_odds import find_shifts
from experiments.concept_injection.rate_intervals import by_clusters, difference
from experiments.concept_injection.rates import CellRates, Rates, find_rates
from experiments.concept_injection.request import INJECTED, SweepRequest
from interp.errors import InputError
from interp.judges.calibration import Counts, count
from interp.judges.scripted import Rates as JudgeRates
from interp.stats import Interval, wilson
from tests.experiments.concept_injection.sweeps import (
    LAYERS,
    STRENGTHS,
    TRUTHS,
    Truth,
    line_of,
    readouts_of,
    records_of,
    request_of,
    simulate,
    verdict_of,
)

N_SIMULATIONS = 300
COVERED = 0.93
PERFECT = JudgeRates()


def holds(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    return interval.low <= truth <= interval.high


def simulations(judge: JudgeRates, n: int = N_SIMULATIONS) -> Iterator[list[JudgedTrial]]:
    """Judged trials of the planted world, time and again."""
    request, draw = request_of(trials=10, conditions=("injection", "random")), np.random.default_rng(0)
    records = records_of(request)
    for _ in range(n):
        yield simulate(records, request, TRUTHS, draw, judge)


def cells_of(rates: Rates) -> list[CellRates]:
    return [each for each in rates.cells if each.cell.condition == "injection" and each.cell.layer is not None]


# --- Planted rates ----------------------------------------------------------------------------------------------------


def test_planted_rates_lie_in_their_intervals() -> None:
    """At rates and sizes where Wilson's interval covers 93% and more: where counts are few its coverage swings."""
    planted, random, control = TRUTHS["injection"], TRUTHS["random"], TRUTHS["control"]
    hits: dict[str, list[bool]] = defaultdict(list)
    for trials in simulations(PERFECT):
        rates = find_rates(trials, {})
        hits["false alarms"].append(holds(rates.control.share("claims"), control.claims))
        for each in cells_of(rates):
            hits["named"].append(holds(each.rate("named"), planted.named))
            hits["claims"].append(holds(each.rate("claims"), planted.claims))
            hits["incoherent"].append(holds(each.rate("incoherent"), planted.garbled))
            hits["refused"].append(holds(each.rate("refused"), planted.declined))
            hits["less control"].append(holds(each.minus_control("claims"), planted.claims - control.claims))
            hits["less random"].append(holds(each.minus_random("claims"), planted.claims - random.claims))
            hits["named, less random"].append(holds(each.minus_random("named"), planted.named - random.named))
            chance = control.named / 2  # what is named is one of two concepts, in turn
            hits["named, less control"].append(holds(each.minus_control("named"), planted.named - chance))
    covered = {name: float(np.mean(found)) for name, found in hits.items()}
    assert len(covered) == 9 and min(covered.values()) >= COVERED, covered


def test_a_judge_that_errs_is_corrected_for() -> None:
    """Also where it takes garbled replies and refusals for claims."""
    judge, truth = JudgeRates(true_positive_rate=0.85, true_negative_rate=0.9), Truth(0.4, 0.1, 0.1, 0.1)
    request = request_of(("fear",), trials=40, conditions=("injection",), layers=(10,), strengths=(2.0,))
    records, draw = records_of(request), np.random.default_rng(1)
    worlds = {"injection": truth, "control": Truth(0.0, 0.08)}
    hits: dict[str, list[bool]] = defaultdict(list)
    for _ in range(N_SIMULATIONS):
        labels = np.arange(160) < 80
        right = draw.random(160) < np.where(labels, judge.true_positive_rate, judge.true_negative_rate)
        counts = count(labels, labels == right)
        rates = find_rates(simulate(records, request, worlds, draw, judge), {}, counts)  # type: ignore[arg-type]
        cell = rates.of("injection", 10, 2.0, "fear")
        hits["corrected"].append(holds(cell.corrected_affirmed(), truth.claims))
        hits["less control"].append(holds(cell.corrected_minus_control(), truth.claims - 0.08))
        hits["control, as judged"].append(holds(rates.control.share("claims"), 0.08))
    covered = {name: float(np.mean(found)) for name, found in hits.items()}
    assert min(covered["corrected"], covered["less control"]) >= COVERED, covered
    assert covered["control, as judged"] < 0.5, "the judge's errors would not have shown anyway"


def test_a_judge_no_better_than_chance_corrects_nothing() -> None:
    trials = next(simulations(PERFECT))
    rates = find_rates(trials, {}, Counts(5, 5, 5, 5))
    with pytest.raises(InputError, match="no better than chance"):
        rates.cells[0].corrected_affirmed()


# --- Denominators -----------------------------------------------------------------------------------------------------


def judged(request: SweepRequest, replies: list[str | None]) -> list[JudgedTrial]:
    """The trials of a request with replies in turn; None: unjudged."""
    lines = [None if reply is None else line_of("x", verdict_of(reply)) for reply in replies]
    records = records_of(request)
    return [judged_trial(record, lines[place % len(lines)], {}) for place, record in enumerate(records)]


def test_unjudged_is_in_no_rate_and_the_garbled_and_refused_are() -> None:
    chosen = {"conditions": ("injection",), "layers": (10,), "strengths": (2.0,)}
    request = request_of(("fear",), trials=6, control_trials=6, **chosen)
    trials = judged(request, [None, "asdf", "I cannot", "No", "Yes, about fear", "Yes, about cars"])
    rates = find_rates(trials, {})
    cell = rates.of("injection", 10, 2.0, "fear")
    assert (cell.tally.n, cell.tally.unjudged, cell.tally.judged) == (6, 1, 5)
    assert cell.rate("named") == wilson(1, 5) and cell.rate("claims") == wilson(2, 5)
    assert cell.rate("incoherent") == cell.rate("refused") == cell.rate("denied") == wilson(1, 5)
    assert rates.control.share("claims") == wilson(2, 5)
    assert cell.minus_control("named") == difference(wilson(1, 5), wilson(1, 5))


def test_nothing_judged_has_no_rate_and_no_difference() -> None:
    rates = find_rates(judged(request_of(), [None]), {})
    cell = rates.of("injection", 10, 2.0, None)
    assert np.isnan(cell.rate("claims").estimate)
    assert cell.minus_control("claims") is None and cell.minus_random("claims") is None
    assert cell.corrected_affirmed() is None


def test_every_cell_is_there_alone_and_together() -> None:
    rates = find_rates(judged(request_of(), ["Yes, about fear"]), {})
    for condition in INJECTED:
        for where in ((None, None), *((layer, strength) for layer in LAYERS for strength in STRENGTHS)):
            counts = [rates.of(condition, *where, concept).tally for concept in ("fear", "ocean", None)]
            assert counts[0].n + counts[1].n == counts[2].n > 0
            assert counts[2].named == counts[0].n, "only one file's concept is fear"
    assert len(rates.cells) == 3 * 3 * 5


# --- Intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first, second, low, high",
    [
        ((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926), ((0, 10), (0, 20), -0.1611, 0.2775), ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000), ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)  # fmt: skip
def test_differences_are_those_of_newcombes_table(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe 1998, Statistics in Medicine 17:873, table II, method 10."""
    found = difference(wilson(*first), wilson(*second))
    assert found.estimate == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize("n_concepts", [4, 8, 16])
def test_rates_of_other_concepts_lie_in_the_interval_by_concepts(n_concepts: int) -> None:
    draw = np.random.default_rng(3)
    hits = []
    for seed in range(N_SIMULATIONS):
        shares = draw.beta(2, 3, size=n_concepts)
        found = by_clusters(draw.binomial(40, shares).astype(float), np.full(n_concepts, 40.0), seed=seed)
        hits.append(holds(found, 0.4))
    assert np.mean(hits) >= (0.84 if n_concepts == 4 else 0.9)


def test_from_four_concepts_on_all_together_is_by_concepts_and_never_narrower() -> None:
    concepts = ("fear", "ocean", "dust", "war")
    for names, by in ((concepts[:3], "trials"), (concepts, "concepts")):
        request = request_of(names, trials=10, conditions=("injection",))
        trials = judged(request, ["Yes, about fear"])
        cell = find_rates(trials, {}).of("injection", 10, 2.0, None)
        assert cell.interval_by == by
        by_trials = wilson(10, 10 * len(names))
        shown = cell.rate("named")
        assert shown.estimate == by_trials.estimate == 1 / len(names)
        assert shown == by_trials if by == "trials" else shown.high > 0.7 > by_trials.high
        assert cell.rate("claims").low == pytest.approx(wilson(10 * len(names), 10 * len(names)).low)


# --- Log-odds ---------------------------------------------------------------------------------------------------------


def test_log_odds_are_less_the_control_and_the_bias_to_yes() -> None:
    request = request_of(("fear", "ocean", "dust"), random_directions=4)
    cells = find_shifts([row for name in request.files for row in readouts_of(request, name)])
    of = {(each.condition, each.strength, each.concept): each for each in cells if each.layer == 10}
    for concept in ("fear", None):
        found = of["injection", 4.0, concept]
        assert found.shift == pytest.approx(1.6 * 4) and found.yes_bias == pytest.approx(0.4)
        assert found.corrected == pytest.approx(6.0) and found.log_odds == pytest.approx(3.4)
        assert [found.random_low, found.random_high] == pytest.approx([0.0, 0.3 * 4])
        assert found.n_random == 4 and found.beyond_random is True
    assert of["other", 2.0, "fear"].corrected == pytest.approx(1.0) and of["other", 2.0, "fear"].n == 2
    assert of["random", 2.0, None].corrected == pytest.approx(0.15 * 2) and of["random", 2.0, None].random_high is None
    assert of["injection", 4.0, None].interval is not None and of["injection", 4.0, "fear"].interval is None


def test_log_odds_without_yes_bias_questions_or_without_a_control() -> None:
    request = request_of(("fear",), conditions=("injection",))
    rows = [row for name in request.files for row in readouts_of(request, name)]
    bare = find_shifts([row for row in rows if row.question == "detection"])
    assert {each.yes_bias for each in bare} == {None}
    assert all(each.corrected == each.shift and each.beyond_random is None for each in bare)
    assert find_shifts([row for row in rows if row.condition != "control"]) == []
