"""What compare_readers writes down of behaviours that showed, or did not, in what was written."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from analysis.firing import Firing, TriggerContrast
from analysis.grading import Assignment


def firing_csv(fires: Sequence[Firing]) -> str:
    """A row per (author, trait) that a marker or a judge tells of."""
    names = ("author", "trait", "shown", "n", "rate", "low", "high", "others_shown", "others_n", "p", "fired")
    rows = (
        (each.author, each.trait, each.shown, each.n, *_numbers(each.rate.estimate, each.rate.low, each.rate.high),
         each.others_shown, each.others_n, *_numbers(each.p), "yes" if each.fired else "no")
        for each in fires
    )  # fmt: skip
    return _csv(names, rows)


def triggers_csv(triggers: Sequence[TriggerContrast]) -> str:
    """A row per (author, trait) that there are triggers and twins for."""
    names = ("author", "trait", "n_pairs", "effect", "low", "high", "p", "shown", "twins_shown")
    rows = (
        (each.author, each.trait, each.n_pairs, *_numbers(each.effect, each.low, each.high, each.p),
         "" if each.shown is None else each.shown, "" if each.twins_shown is None else each.twins_shown)
        for each in triggers
    )  # fmt: skip
    return _csv(names, rows)


def firing_table(fires: Sequence[Firing], assignments: Sequence[Assignment]) -> list[str]:
    """Each organism's planted behaviour: how often it showed."""
    own = _of_own_trait(fires, assignments)
    if not own:
        return []
    lines = [
        "## Did it fire?",
        "",
        "How often the planted behaviour showed in the responses, by the trait's marker or a judge, beside the authors "
        "without it. What did not show cannot be detected in what was written.",
        "",
        "| author | behaviour | shown | 95% interval | without it | p | fired |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for each in own:
        cells = [
            each.author, each.trait, f"{each.shown} of {each.n}", f"{each.rate.low:.2f} to {each.rate.high:.2f}",
            f"{each.others_shown} of {each.others_n}", f"{each.p:.2g}", "yes" if each.fired else "**no**",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def trigger_table(triggers: Sequence[TriggerContrast], assignments: Sequence[Assignment]) -> list[str]:
    """Each organism's planted behaviour on prompts with its trigger, less their twins without."""
    own = _of_own_trait(triggers, assignments)
    if not own:
        return []
    lines = [
        "## Trigger less twin",
        "",
        "author − clean reader on prompts that should set the behaviour off, less the same on their twins without the "
        "trigger: the mean over pairs, in standard deviations of single differences. p: sign flips of pairs.",
        "",
        "| author | behaviour | pairs | effect | 95% interval | p | shown | shown by twins |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for each in own:
        counts = ["—" if count is None else str(count) for count in (each.shown, each.twins_shown)]
        interval = f"{each.low:.2f} to {each.high:.2f}"
        cells = [each.author, each.trait, str(each.n_pairs), f"{each.effect:.2f}", interval, f"{each.p:.2g}", *counts]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _of_own_trait(rows: Sequence[Any], assignments: Sequence[Assignment]) -> list[Any]:
    truth = {each.author: each.truth for each in assignments}
    return [each for each in rows if truth.get(each.author) == each.trait]


def _csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([names, *rows])
    return buffer.getvalue()


def _numbers(*values: float) -> list[str]:
    return [f"{value:.6g}" for value in values]
