"""What compare_readers writes down: tables for programs, and the words of its summary."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.comparison import Comparison
from analysis.detection import ALPHA, MIN_Z, Entries, sham_p
from analysis.differences import TOP_SHARE, Differences, Estimates
from analysis.firing_tables import firing_table, trigger_table
from analysis.grading import Assignment, Grade, ShamCheck
from interp.stats import Floats, Interval

STATISTICS = (
    "mean", "mean_low", "mean_high", "mean_effect", "mean_p", "mean_q",
    "top", "top_low", "top_high", "effect", "top_p", "top_q", "p", "p_max", "q",
)  # fmt: skip


def differences_csv(found: Differences, shams: Sequence[str]) -> str:
    """A row per (author, trait, method, layer)."""
    return _csv(found, ("author", "trait", "method", "layer"), _columns(found, shams))


def entries_csv(entries: Entries, shams: Sequence[str]) -> str:
    """A row per (author, trait), layers averaged: what is assigned and detected."""
    found = entries.differences
    values = _columns(found, shams)
    values["random_p"] = entries.random_p
    values["detected"] = np.where(entries.detected, "yes", "no")
    return _csv(found, ("author", "trait", "method"), values)


def _columns(found: Differences, shams: Sequence[str]) -> dict[str, Any]:
    raw, centred = (_of(estimates, found, shams) for estimates in (found.raw, found.centred))
    others = {"z_others": found.z_others, "cosine": found.cosine}
    return raw | others | {f"centred_{name}": values for name, values in centred.items()}


def _of(estimates: Estimates, found: Differences, shams: Sequence[str]) -> dict[str, Floats]:
    return {name: getattr(estimates, name) for name in STATISTICS} | {"sham_p": sham_p(estimates, found, shams)}


def _csv(found: Differences, keys: Sequence[str], values: Mapping[str, Any]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*keys, "n_prompts", "n_peers", *values])
    for row, author in enumerate(found.authors):
        for place, column in enumerate(found.columns):
            numbers = [_cell(each[row, place]) for each in values.values()]
            names = [author, *column][: len(keys)]
            writer.writerow([*names, int(found.n_prompts[row]), int(found.n_peers[row]), *numbers])
    return buffer.getvalue()


def _cell(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:.6g}"


def summary(name: str, found: Comparison, verdict: Sequence[str], left_out: Sequence[str]) -> str:
    """What a reader wants to know first."""
    lines = [f"# {name}: organisms × traits", "", *_what_it_is(found.layers, found.entries), ""]
    if left_out:
        lines += [f"Left out, for want of projections by both readers, or of any answer: {', '.join(left_out)}.", ""]
    lines += [*_assignment_table(found.assignments), "  \n".join(verdict), "", *_grade_table(found.grades)]
    lines += firing_table(found.firings, found.assignments)
    lines += trigger_table(found.triggers, found.assignments)
    return "\n".join([*lines, *_entry_table(found.entries), ""])


def _entry_table(entries: Entries) -> list[str]:
    lines = ["## All entries", "", "Bold is detected.", ""]
    lines += [f"| author | {' | '.join(entries.traits)} |", f"|---|{'--:|' * len(entries.traits)}"]
    for author, effects, flags in zip(entries.authors, entries.estimates.effect, entries.detected, strict=True):
        cells = [f"**{value:.2f}**" if flag else f"{value:.2f}" for value, flag in zip(effects, flags, strict=True)]
        lines.append(f"| {author} | {' | '.join(cells)} |")
    return lines


def _what_it_is(layers: Sequence[int], entries: Entries) -> list[str]:
    of = "author − clean reader, same tokens"
    if entries.centred:
        of += "; less the median of its peers on the same prompt, organisms of its recipe with other behaviours"
    return [
        f"Each entry is an effect: the mean of the largest {TOP_SHARE:.0%} of the paired differences ({of}), in "
        "standard deviations of single differences over all authors and prompts, averaged "
        f"over layers {', '.join(map(str, layers))}. {entries.detected.size} entries were searched.",
        "",
        f"p: sign flips of whole prompts, of the mean or of the largest {TOP_SHARE:.0%}, whichever is further out, "
        "corrected for the choice. p, searched: corrected for the largest of all traits too (max-statistic). q: false "
        f"discovery rate over all entries (Benjamini-Hochberg). Detected: q < {ALPHA}, and {_beyond(entries)}.",
    ]


def _beyond(entries: Entries) -> str:
    """What the rule asks for beside q, in words."""
    parts = []
    if not np.isnan(entries.sham_largest).all():
        parts.append("above every entry of every sham (of the other shams, for a sham)")
    if not np.isnan(entries.differences.z_others).all():
        parts.append(f"more than {MIN_Z:g} robust standard deviations from the peers")
    if not np.isnan(entries.random_p).all():
        parts.append(f"above {1 - ALPHA:.0%} of the author's effects along random directions")
    return ", and ".join(parts) or "nothing else, for want of shams and of peers: a small drift is enough"


def _assignment_table(assignments: Sequence[Assignment]) -> list[str]:
    lines = [
        "| author | largest entry | effect | 95% interval | p | p, searched | q | verdict | next | effect "
        "| planted | its rank |",
        "|---|---|--:|--:|--:|--:|--:|---|---|--:|---|--:|",
    ]
    for each in assignments:
        mark = "" if each.truth is None else " ✓" if each.truth == each.trait else " ✗"
        interval = "—" if each.low is None or each.high is None else f"{each.low:.2f} to {each.high:.2f}"
        cells = [
            each.author, each.trait + mark, f"{each.effect:.2f}", interval, f"{each.p:.2g}", f"{each.p_max:.2g}",
            f"{each.q:.2g}", each.verdict, each.runner_up,
            f"{each.runner_up_effect:.2f}", each.truth or "—", str(each.rank_of_truth or "—"),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _grade_table(grades: Mapping[str, Grade]) -> list[str]:
    shown = {name: each for name, each in grades.items() if each.graded}
    if not shown:
        return []
    lines = [
        "## Grades",
        "",
        "| organisms | right | accuracy | by chance | median rank | AUROC of entries | detected | falsely detected |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, each in shown.items():
        cells = [
            name, f"{each.right} of {each.graded}", _interval(each.accuracy), f"{1 / each.n_traits:.2f}",
            f"{np.median(each.ranks):g}", "—" if each.auroc is None else _interval(each.auroc),
            f"{each.found} of {each.graded}", f"{each.false} of {each.n_false}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _interval(interval: Interval) -> str:
    return f"{interval.estimate:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def grade_lines(grades: Grade | None, shams: ShamCheck) -> list[str]:
    """How right it was, a sentence a line."""
    if grades is None or not grades.graded:
        return ["Nothing is known to be planted here, so nothing is graded."]
    lines = [
        f"**{grades.right} of {grades.graded} organisms are assigned their own trait** (accuracy "
        f"{grades.accuracy.estimate:.2f}, 95% interval {grades.accuracy.low:.2f} to {grades.accuracy.high:.2f}; "
        f"blind guessing among {grades.n_traits} traits gives {grades.chance:.1f}; p = {grades.chance_p:.1g}).",
        f"Detected: {grades.found} of {grades.graded} planted entries, {grades.false} of {grades.n_false} others."
        + (f" {grades.silent} planted behaviours did not fire." if grades.silent else ""),
        f"Largest entries on traits that an organism has not: median {np.median(shams.null):.2f}, "
        f"largest {shams.null.max():.2f}.",
    ]
    for author, value in shams.largest.items():
        lines.append(f"Sham `{author}`: largest entry {value:.2f} (p = {shams.p[author]:.2f} against those).")
    return lines


def detection_line(assignments: Sequence[Assignment]) -> str:
    """How many stand out at all: what can be said where nothing is known to be planted."""
    found = [each for each in assignments if each.detected]
    names = "; ".join(f"{each.author}: {each.trait}" for each in found)
    return f"{len(found)} of {len(assignments)} authors have a largest entry that is detected" + (
        f" ({names})." if names and len(found) <= 20 else "."
    )


def grades_json(grades: Mapping[str, Grade]) -> dict[str, Any]:
    """The grades by part, as numbers."""
    return {
        name: {
            "right": each.right,
            "graded": each.graded,
            "chance": each.chance,
            "chance_p": each.chance_p,
            "accuracy": _as_json(each.accuracy),
            "auroc": _as_json(each.auroc),
            "ranks": list(each.ranks),
            "detected": each.found,
            "did_not_fire": each.silent,
            "falsely_detected": each.false,
            "not_planted": each.n_false,
        }
        for name, each in grades.items()
        if each.graded
    }


def _as_json(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
