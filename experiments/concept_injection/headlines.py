"""What a reader of a sweep wants to know first, in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.concept_injection.log_odds import LogOddsCell
from experiments.concept_injection.rates import CellRates, Rates
from experiments.concept_injection.results import Results
from interp.stats import Interval


@dataclass(frozen=True)
class Headlines:
    """Lines for people: `warnings` say what is missing, `findings` what was found."""

    warnings: list[str]
    findings: list[str]


def headlines(results: Results, rates: Rates, shifts: Sequence[LogOddsCell]) -> Headlines:
    """What is missing, and what was found."""
    findings = [*log_odds_lines(shifts)]
    if results.judge is not None:
        findings = [control_line(rates), *overall_lines(rates), *best_line(rates), *findings]
    return Headlines(warnings(results), findings)


def warnings(results: Results) -> list[str]:
    """What is missing or not used; empty when all is there."""
    found = []
    total = sum(each.trials for each in results.coverage)
    if results.judge is None:
        found.append("No verdicts: no reply has been judged, so there are no rates. Log-odds and replies are below.")
    elif results.unjudged:
        found.append(f"{results.unjudged} of {total} trials are unjudged: they count as neither detected nor failed.")
    for each in results.coverage:
        if each.trials < each.planned or not each.readouts:
            readouts = "" if each.readouts else ", and no log-odds"
            found.append(f"{each.file}: {each.trials} of {each.planned} trials are there{readouts}.")
    if results.others:
        found.append(f"Verdicts of other judges or versions of the rubric are not used: {', '.join(results.others)}.")
    return found


def control_line(rates: Rates) -> str:
    """False alarms."""
    tally = rates.control
    if not tally.judged:
        return "No control trial is judged: how often a detection is claimed when nothing was injected is not known."
    share = in_words(tally.share("claims"))
    return f"Control, nothing injected: {tally.claims} of {tally.judged} claim a detection (false alarms: {share})."


def overall_lines(rates: Rates) -> list[str]:
    """Each condition over all layers and strengths: nothing was chosen after the fact."""
    return [_overall(each) for each in rates.cells if each.cell.layer is None and each.cell.concept is None]


def _overall(each: CellRates) -> str:
    what = {"injection": "The concept's vector", "random": "Random directions", "other": "Another concept's vector"}
    start = f"{what[each.cell.condition]}, all layers and strengths:"
    if not each.tally.judged:
        return f"{start} no trial is judged."
    right = f"{in_words(each.rate('detected'))} name what was injected; " if each.cell.condition != "random" else ""
    parts = [f"{start} {right}{in_words(each.rate('claims'))} claim anything"]
    gaps = {"the control": each.minus_control("claims"), "random directions": each.minus_random("claims")}
    parts += [f"{signed(gap)} against {name}" for name, gap in gaps.items() if gap is not None]
    lost = f"{in_words(each.rate('incoherent'))} incoherent, {in_words(each.rate('refused'))} refused"
    return f"{'; '.join(parts)}. {lost}; intervals by {each.interval_by}."


def best_line(rates: Rates) -> list[str]:
    """The cell of all concepts that detects most, with an interval that allows for the choice (Bonferroni)."""
    cells = [
        each for each in rates.cells
        if each.cell.condition == "injection" and each.cell.concept is None and each.cell.layer is not None
        and each.minus_control("named") is not None
    ]  # fmt: skip
    if not cells:
        return []
    best = max(cells, key=lambda each: (each.rate("named").estimate, each.rate("named").low))
    gap = best.minus_control("named", 1 - 0.05 / len(cells))
    assert gap is not None
    return [
        f"Most detected at layer {best.cell.layer}, strength {best.cell.strength:g}: {in_words(best.rate('named'))}; "
        f"{signed(gap)} against how often the control names the concept (allows for choosing among {len(cells)} cells)."
    ]


def log_odds_lines(shifts: Sequence[LogOddsCell]) -> list[str]:
    """How the log-odds of yes stand against random directions."""
    cells = [each for each in shifts if each.condition == "injection" and each.concept is None]
    if not cells:
        return []
    best = max(cells, key=lambda each: each.corrected)
    found = [
        f"Log-odds of yes over no, less yes-bias: up by {_nats(best.corrected)} at most, at layer {best.layer}, "
        f"strength {best.strength:g} (the largest of {len(cells)} cells is high by chance too)."
    ]
    against = [each for each in cells if each.beyond_random is not None]
    if against:
        beyond, least = sum(bool(each.beyond_random) for each in against), min(each.n_random for each in against)
        chance = f"by chance about one in {least + 1} would"
        found.append(f"It exceeds every random direction in {beyond} of {len(against)} cells; {chance}.")
    return found


def coverage_rows(results: Results) -> list[dict[str, object]]:
    """A row per file."""
    return [
        {
            "trials of": each.file, "planned": each.planned, "there": each.trials, "judged": each.judged,
            "unjudged": each.unjudged, "log-odds": each.readouts,
        }
        for each in results.coverage
    ]  # fmt: skip


def run_facts(results: Results) -> list[tuple[str, str]]:
    """What was run, as names and values."""
    request = results.request
    seen = {each.record.config.layer for each in results.trials}
    layers = sorted(layer for layer in seen if layer is not None)
    return [
        ("model", f"{request.model_id}, {request.quantization or request.dtype}"),
        ("concepts", ", ".join(request.concepts)),
        ("layers", _listed(layers)),
        ("strengths", f"{_listed(request.strengths)} × {_unit(request.strength_unit)}"),
        ("conditions", ", ".join((*request.used_conditions, "control"))),
        ("trials", f"{request.trials} a cell, {request.control_trials} of the control"),
        ("injected", {"all": "everywhere", "generation": "from the prompt's last token on"}.get(
            request.inject_style, "from the marked place in the prompt on")),
        ("prompt version", request.prompt_version),
        ("sampling", ", ".join(f"{name} {value}" for name, value in request.sampling.model_dump().items())),
        ("concept vectors", f"{request.vector_token} token, baseline {request.baseline}"),
        ("judge", results.judge or "none"),
    ]  # fmt: skip


def _unit(unit: str) -> str:
    return "the concept vector's length" if unit == "vector" else "the typical length of a residual"


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def in_words(interval: Interval) -> str:
    """A share in percent with its interval."""
    return f"{100 * interval.estimate:.1f}% [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def signed(interval: Interval) -> str:
    """A difference of shares in points with its interval."""
    ends = f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]".replace("-", "−")
    return f"{100 * interval.estimate:+.1f} points ".replace("-", "−") + ends


def _nats(value: float) -> str:
    return f"{value:.2f} nats".replace("-", "−")
