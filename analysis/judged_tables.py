"""What a judge said of steered replies, as a table of every figure and as a section of the summary."""

from collections.abc import Iterable, Iterator, Sequence

from analysis.judged_steering import MIN_COHERENCE, JudgedSteering, Place, Scores, judged_interval, report_place
from analysis.separation import HALVES
from analysis.steering_verdicts import Judged
from analysis.validation_tables import csv_text, range_words
from interp.stats import Floats, Interval

_QUESTIONS: dict[str, slice] = {"all": slice(None), "choose": HALVES["choose"], "report": HALVES["report"]}
_HEADER = [
    "trait", "method", "direction", "layer", "strength", "questions", "n_judged", "n_unjudged", "trait_score",
    "trait_low", "trait_high", "coherence", "coherence_low", "coherence_high", "chosen",
]  # fmt: skip


def judged_csv(steered: Sequence[JudgedSteering]) -> str:
    """A row per (trait, method, direction, layer, strength, questions): all of them, and either half.

    Replies without steering have strength 0 and no method, direction and layer, once for a trait.
    """
    rows: list[list[object]] = []
    unsteered = {each.trait: each.unsteered for each in steered}
    for trait, scores in unsteered.items():
        rows += _cells([trait, "", "", "", "0"], scores, 0)
    for each in steered:
        rows += _rows_of(each)
    return csv_text(_HEADER, rows)


def _rows_of(judged: JudgedSteering) -> Iterator[list[object]]:
    chosen = judged.chosen
    for index, direction in enumerate(judged.directions):
        for layer, layer_number in enumerate(judged.layers):
            for dose, strength in enumerate(judged.strengths):
                where = [judged.trait, judged.method, direction, layer_number, f"{strength:g}"]
                is_chosen = int(direction == "vector" and chosen == Place(layer, dose))
                yield from _cells(where, judged.steered.at((index, layer, dose)), is_chosen)


def _cells(where: Sequence[object], scores: Scores, chosen: int) -> Iterator[list[object]]:
    """The rows of the replies to each question under one push."""
    for name, half in _QUESTIONS.items():
        part = scores.at(half)
        counts = [len(part.trait) - part.n_unjudged, part.n_unjudged]
        figures = [*_figures(part.trait), *_figures(part.coherence)]
        yield [*where, name, *counts, *figures, chosen]


def _figures(values: Floats) -> list[str]:
    found = judged_interval(values)
    return [""] * 3 if found is None else [f"{value:.6g}" for value in (found.estimate, found.low, found.high)]


def judged_lines(judged: Judged) -> list[str]:
    """The section of the summary."""
    places = [(each, each.chosen) for each in judged.steered]
    n_show = sum(report_place(each, place).shows for each, place in places if place)
    lines = [
        "## Judged replies",
        "",
        f"What the steered model answers to held-out questions, without a system prompt; judge: {judged.judge}, rubric "
        f"trait_score {judged.rubric}. Trait and coherence run from 0 to 100. Layer and strength are where the trait "
        f"scored highest on one half of the questions, among strengths above 0 whose mean coherence there was "
        f"{MIN_COHERENCE:g} or more; the figures are from the other half, with t intervals over questions. Random: "
        "directions of the same length, at the same layer and strength. Over: differences, question by question. The "
        "trait shows (✓) when the intervals of both differences lie above 0.",
        "",
        f"**{n_show} of {len(judged.steered)} vectors make the trait show.** {judged.n_unjudged} of {judged.n_replies} "
        "replies are unjudged; these are in no figure.",
        "",
    ]
    lines += [f"- Left out: {what}: {why}." for what, why in judged.left_out.items()]
    lines += [f"- Cut short: {judged.stopped}."] if judged.stopped else []
    lines += [""] if judged.left_out or judged.stopped else []
    return [*lines, *_table(judged.steered), ""] if judged.steered else lines


def _table(steered: Iterable[JudgedSteering]) -> Iterator[str]:
    yield (
        "| trait | method | questions | unjudged | layer | strength | trait score | not steered | random | "
        "over not steered | over random | coherence | shows |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|"
    for each in steered:
        cells = [each.trait, each.method, *_result_cells(each, each.chosen)]
        yield f"| {' | '.join(cells)} |"


def _result_cells(judged: JudgedSteering, place: Place | None) -> list[str]:
    """The cells after trait and method; blank where no layer was chosen."""
    n_questions = len(range(judged.n_questions)[HALVES["report"]])
    if place is None:
        return [str(n_questions), str(judged.n_unjudged), *["–"] * 8, "✗ (nowhere coherent)"]
    found = report_place(judged, place)
    intervals = [found.trait, found.unsteered, found.random, found.over_unsteered, found.over_random, found.coherence]
    return [
        str(n_questions), str(judged.n_unjudged), str(judged.layers[place.layer]),
        f"{judged.strengths[place.strength]:g}", *map(_words, intervals), "✓" if found.shows else "✗",
    ]  # fmt: skip


def _words(interval: Interval | None) -> str:
    return "unjudged" if interval is None else f"{interval.estimate:.1f} ({range_words(interval, 1)})"
