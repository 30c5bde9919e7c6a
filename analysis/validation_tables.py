"""The tables of the validation of vectors: CSV for every figure, markdown for what a reader wants to know first."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from analysis.dose_response import DoseResponse, report_layer
from analysis.separation import HALVES, Separated
from analysis.vector_agreement import Agreement
from interp.stats import Interval, student_interval

VectorName = tuple[str, str]
"""Trait and method."""


def separation_csv(separated: Mapping[VectorName, Separated]) -> str:
    """A row per (trait, method, layer), over all held-out questions; `chosen` by one half of them."""
    header = ["trait", "method", "layer", "n_questions", "auroc", "low", "high", "chosen"]
    rows = (
        [*name, layer, each.positive.shape[1], *_numbers(each.at(place)), int(place == each.choose(HALVES["choose"]))]
        for name, each in separated.items()
        for place, layer in enumerate(each.layers)
    )
    return csv_text(header, rows)


def steering_csv(steered: Sequence[DoseResponse], norms: Mapping[tuple[str, str, int], float]) -> str:
    """A row per (trait, method, layer), from the half that reports; `chosen` by the other one."""
    header = ["trait", "method", "layer", "chosen", "norm", "n_texts", "slope", "slope_low", "slope_high"]
    header += ["random_spread", "random_largest", "coherence_lowest", "coherence_highest", "p", "steers"]
    rows = []
    for each in steered:
        for place, layer in enumerate(each.layers):
            found = report_layer(each, place)
            verdict = [f"{each.p:.4f}", int(each.steers)] if place == each.chosen else ["", ""]
            figures = [found.random_spread, found.random_largest, *found.coherence]
            rows.append([
                each.trait, each.method, layer, int(place == each.chosen),
                f"{norms[each.trait, each.method, layer]:.6g}", each.slopes("report").shape[-1],
                *_numbers(found.slope), *(f"{figure:.6g}" for figure in figures), *verdict,
            ])  # fmt: skip
    return csv_text(header, rows)


def dose_response_csv(steered: Sequence[DoseResponse]) -> str:
    """A row per (trait, method, direction, layer, strength), over all texts."""
    header = ["trait", "method", "direction", "layer", "strength", "shift", "low", "high", "coherence"]
    rows = (
        [each.trait, each.method, direction, layer, f"{strength:g}",
         *_numbers(student_interval(each.shift[index, place, dose])), f"{each.coherence[index, place, dose]:.6g}"]
        for each in steered
        for index, direction in enumerate(each.directions)
        for place, layer in enumerate(each.layers)
        for dose, strength in enumerate(each.strengths)
    )  # fmt: skip
    return csv_text(header, rows)


def agreement_csv(agreed: Sequence[Agreement]) -> str:
    """A row per pair of a trait's vectors that share method or layer."""
    header = ["trait", "method", "layer", "other_method", "other_layer", "cosine"]
    rows = (
        [each.trait, each.method, each.layer, each.other_method, each.other_layer, f"{each.cosine:.6g}"]
        for each in agreed
    )
    return csv_text(header, rows)


def summary(
    name: str,
    separated: Mapping[VectorName, Separated],
    steered: Sequence[DoseResponse],
    readouts: Mapping[str, str],
    agreed: Sequence[Agreement],
    left_out: Mapping[str, str],
    judged: Sequence[str] = (),
) -> str:
    """What a reader wants to know first; `judged` is the section on what a judge said, line by line."""
    lines = [f"# {name}: are the trait vectors to be trusted?", ""]
    lines += [f"- Left out: {what}: {why}." for what, why in left_out.items()] + ([""] if left_out else [])
    lines += _separation_lines(separated)
    lines += _steering_lines(steered, readouts) if steered else []
    lines += judged
    lines += _agreement_lines(agreed)
    return "\n".join([*lines, ""])


def _separation_lines(separated: Mapping[VectorName, Separated]) -> list[str]:
    lines = [
        "## Separation",
        "",
        "AUROC on one half of the held-out questions, at the layer that separated the other half best; 0.5 is chance.",
        "",
        "| trait | method | layer | AUROC | 95% interval |",
        "|---|---|--:|--:|--:|",
    ]
    for (trait, method), each in separated.items():
        place = each.choose(HALVES["choose"])
        found = each.at(place, HALVES["report"])
        lines.append(f"| {trait} | {method} | {each.layers[place]} | {found.estimate:.2f} | {range_words(found)} |")
    return [*lines, ""]


def _steering_lines(steered: Sequence[DoseResponse], readouts: Mapping[str, str]) -> list[str]:
    n_random = len(steered[0].directions) - 1
    lines = [
        "## Steering",
        "",
        "Slope: how much a strength of one vector length moves the log-odds of text that shows the trait over its "
        "twin, in nats per token, with a t interval over texts; on the half of the texts that did not choose the "
        f"layer. p: the share of {n_random} random directions of the same length, and their opposites, that do as well "
        "at the layer that each of them would choose (smallest possible: "
        f"{1 / (1 + 2 * n_random):.3f}). A vector steers (✓) when its interval lies above 0 and p below 0.05. "
        "Coherence: change of neutral text at the lowest and highest strength. Texts: the trait's sentences, or the "
        "model's own answers.",
        "",
        f"**{sum(each.steers for each in steered)} of {len(steered)} vectors steer.** Slopes of different methods are "
        "of vectors of different lengths (`norm` in steering.csv).",
        "",
        "| trait | method | texts | layer | slope | 95% interval | p | coherence | steers |",
        "|---|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for each in steered:
        found = report_layer(each, each.chosen)
        cells = [
            each.trait, each.method, f"{each.slopes('report').shape[-1]} {readouts[each.trait]}",
            str(each.layers[each.chosen]), f"{found.slope.estimate:.3f}", range_words(found.slope, 3),
            f"{each.p:.3f}", f"{found.coherence[0]:+.3f}, {found.coherence[1]:+.3f}",
            "✓" if each.steers else "✗",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", "![dose and response](dose_response.png)", ""]


def _agreement_lines(agreed: Sequence[Agreement]) -> list[str]:
    """Cosines between methods, over traits and layers; between neighbouring layers, over traits."""
    between: dict[str, list[float]] = {}
    for each in agreed:
        same = each.method == each.other_method
        what = f"{each.method}, two layers" if same else f"{each.method} and {each.other_method}"
        between.setdefault(what, []).append(each.cosine)
    lines = ["## Agreement", "", "Cosines over all traits and layers.", "", "| vectors | lowest | median | highest |"]
    lines.append("|---|--:|--:|--:|")
    for what, cosines in between.items():
        low, middle, high = np.nanmin(cosines), np.nanmedian(cosines), np.nanmax(cosines)
        lines.append(f"| {what} | {low:.2f} | {middle:.2f} | {high:.2f} |")
    return lines


def _numbers(interval: Interval) -> list[str]:
    return [f"{value:.6g}" for value in (interval.estimate, interval.low, interval.high)]


def range_words(interval: Interval, digits: int = 2) -> str:
    """An interval's ends, for people."""
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
