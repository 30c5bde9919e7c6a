"""The tables of a sweep: rows of rates and of log-odds, as CSV and for the page."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from experiments.concept_injection.claims import JudgedTrial, join
from experiments.concept_injection.log_odds import LogOddsCell
from experiments.concept_injection.rates import COMPARED, MEASURES, CellRates, Measure, Rates, Tally
from experiments.concept_injection.request import CONTROL
from interp.stats import Interval

Row = dict[str, Any]
ALL = "all"
"""Stands for all concepts, layers or strengths together."""


def rate_rows(rates: Rates) -> list[Row]:
    """A row for the control, then one for each cell; shares with the ends of their 95% intervals."""
    control = {"concept": ALL, "condition": CONTROL, "layer": ALL, "strength": ALL, **_counts(rates.control)}
    columns = [_row(each) for each in rates.cells]
    first = {**control, "interval_by": "trials", **_shares(rates.control.share, rates.control.judged, CONTROL)}
    names = list(dict.fromkeys(name for row in (*columns[:1], first) for name in row))
    return [{name: row.get(name) for name in names} for row in (first, *columns)]


def _row(each: CellRates) -> Row:
    cell = each.cell
    row = {
        "concept": cell.concept or ALL, "condition": cell.condition,
        "layer": ALL if cell.layer is None else cell.layer, "strength": ALL if cell.strength is None else cell.strength,
        **_counts(each.tally), "interval_by": each.interval_by,
        **_shares(each.rate, each.tally.judged, cell.condition),
    }  # fmt: skip
    for name, tally in (("control", each.control), ("random", each.random)):
        row[f"{name}_judged"] = 0 if tally is None else tally.judged
        for measure in COMPARED:
            row |= _ends(f"{name}_{measure}", tally.share(measure) if tally else None)
    for measure in COMPARED:
        row |= _ends(f"{measure}_minus_control", each.minus_control(measure))
        row |= _ends(f"{measure}_minus_random", each.minus_random(measure))
    if each.calibration is not None:
        row |= _ends("affirmed_corrected", each.corrected_affirmed())
        row |= _ends("affirmed_corrected_minus_control", each.corrected_minus_control())
    return row


def _counts(tally: Tally) -> Row:
    counts: Row = {measure: getattr(tally, measure) for measure in MEASURES}
    counts["named"] = round(tally.named, 3)
    return {"trials": tally.n, "judged": tally.judged, "unjudged": tally.unjudged, **counts,
            "affirmed": tally.affirmed}  # fmt: skip


def _shares(share: Any, judged: int, condition: str) -> Row:
    """Detection has a rate only where something that has a name was injected; the control's naming is of a concept."""
    left_out: dict[str, tuple[Measure, ...]] = {"random": ("detected",), CONTROL: ("detected", "named")}
    row: Row = {}
    for measure in MEASURES:
        there = judged and measure not in left_out.get(condition, ())
        row |= _ends(f"{measure}_rate", share(measure) if there else None)
    return row


def log_odds_rows(cells: Iterable[LogOddsCell]) -> list[Row]:
    """A row for each cell, in nats."""
    return [
        {
            "concept": each.concept or ALL, "condition": each.condition, "layer": each.layer, "strength": each.strength,
            "pushes": each.n, "log_odds": _number(each.log_odds), "shift": _number(each.shift),
            "yes_bias_shift": _number(each.yes_bias), "corrected_shift": _number(each.corrected),
            "corrected_shift_low": _number(each.interval.low if each.interval else None),
            "corrected_shift_high": _number(each.interval.high if each.interval else None),
            "random_low": _number(each.random_low), "random_high": _number(each.random_high),
            "random_directions": each.n_random,
            "beyond_random": None if each.beyond_random is None else "yes" if each.beyond_random else "no",
        }
        for each in cells
    ]  # fmt: skip


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows that all have the first one's columns; nothing where a number is missing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    writer.writerows(["" if value is None else value for value in row.values()] for row in rows)
    return buffer.getvalue()


def joined_lines(trials: Iterable[JudgedTrial]) -> str:
    """The export: a trial a line, with its verdict or why there is none."""
    return "".join(join(trial).model_dump_json() + "\n" for trial in trials)


def _ends(name: str, interval: Interval | None) -> Row:
    values = (None, None, None) if interval is None else (interval.estimate, interval.low, interval.high)
    low, high = f"{name.removesuffix('_rate')}_low", f"{name.removesuffix('_rate')}_high"
    return {key: _number(value) for key, value in zip((name, low, high), values, strict=True)}


def _number(value: float | None) -> float | None:
    """Six digits, nine decimals at most: what rounding errors leave of a zero is a zero."""
    return None if value is None or not isfinite(value) else float(f"{round(value, 9) + 0.0:.6g}")
