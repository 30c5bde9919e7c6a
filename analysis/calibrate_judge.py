"""How far a judge agrees with people, and the rate in all it judged, corrected for its errors.

Reads   people's labels (CSV with the columns item and label, or JSON lines with these keys) and a verdict file
Writes  analysis/calibrate_judge/<verdict file>/calibration.json

An item without a verdict is counted as unjudged and is in no rate.

Example: python analysis/calibrate_judge.py --experiment concept_injection --labels labels.csv \
             --verdicts fear.verdicts/introspection_detection-57d741fbc896-gpt-5-mini.jsonl --field claims_detection
"""

import argparse
import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interp import cli
from interp.errors import InputError
from interp.files import write_json
from interp.judges.calibration import (
    Corrected,
    Counts,
    corrected_rate,
    count,
    kappa,
    true_negative_rate,
    true_positive_rate,
)
from interp.judges.rubrics import Verdict
from interp.judges.verdicts import latest_verdicts
from interp.paths import default_root
from interp.stats import Interval, wilson

_YES, _NO = {"1", "true", "yes", "positive", "pass"}, {"0", "false", "no", "negative", "fail"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """A judge against people. `observed`: the positive share of all `judged` items; `corrected`: by people's measure.

    `labelled_unjudged` are labelled items without a verdict, left out of all rates.
    """

    field: str
    positive: str
    counts: Counts
    tpr: Interval
    tnr: Interval
    kappa: Interval
    judged: int
    unjudged: int
    labelled_unjudged: int
    observed: Interval
    corrected: Corrected


def read_labels(path: Path) -> dict[str, bool]:
    """People's labels by item, from CSV (by the suffix .csv) or JSON lines.

    Raises:
        InputError: a row has no item or label, a label is no yes or no, or an item has both.
    """
    labels: dict[str, bool] = {}
    for number, row in enumerate(_rows(path), 1):
        item, label = row.get("item"), str(row.get("label")).strip().lower()
        if not item or label not in _YES | _NO:
            known = ", ".join(sorted(_YES | _NO))
            raise InputError(f"{path}, row {number}: needs `item`, and `label` as one of {known}")
        if labels.setdefault(str(item), label in _YES) != (label in _YES):
            raise InputError(f"{path}: item {item!r} is labelled both ways; settle it first")
    if not labels:
        raise InputError(f"{path} holds no labels")
    return labels


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            yield from csv.DictReader(file)
            return
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = None
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number}: no JSON object")
            yield row


def calibrate(labels: Mapping[str, bool], path: Path, field: str, at_least: float | None) -> Calibration:
    """What people's labels say of the verdicts in a file.

    Args:
        field: of the verdict; boolean, or a number that counts as positive from `at_least` on.

    Raises:
        InputError: no labelled item is judged, the field is not there, or the judge does no better than chance.
    """
    lines = latest_verdicts(path)
    said = {item: _is_positive(line.verdict, field, at_least) for item, line in lines.items() if line.verdict}
    both = sorted(labels.keys() & said.keys())
    if not both:
        raise InputError(f"no labelled item has a verdict in {path}")
    counts = count(np.array([labels[item] for item in both]), np.array([said[item] for item in both]))
    positives = sum(said.values())
    return Calibration(
        field=field, positive="true" if at_least is None else f"at least {at_least:g}", counts=counts,
        tpr=true_positive_rate(counts), tnr=true_negative_rate(counts), kappa=kappa(counts), judged=len(said),
        unjudged=len(lines) - len(said), labelled_unjudged=len(labels) - len(both),
        observed=wilson(positives, len(said)), corrected=corrected_rate(positives, len(said), counts),
    )  # fmt: skip


def _is_positive(verdict: Verdict, field: str, at_least: float | None) -> bool:
    if field not in verdict:
        raise InputError(f"verdicts have no field {field!r}; they have: {', '.join(verdict)}")
    value = verdict[field]
    if isinstance(value, bool) and at_least is None:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and at_least is not None:
        return value >= at_least
    raise InputError(f"field {field!r} holds {value!r}: choose a boolean field, or a number field with --at-least")


def lines_of(found: Calibration) -> list[str]:
    """For people."""
    counts, corrected = found.counts, found.corrected
    return [
        f"{counts.n} labelled items with a verdict ({counts.positives} positive, {counts.negatives} negative by the "
        f"labels; {found.labelled_unjudged} more without a verdict)",
        f"TPR    {_words(found.tpr)}",
        f"TNR    {_words(found.tnr)}",
        f"kappa  {_words(found.kappa)}",
        f"rate in {found.judged} judged items ({found.unjudged} unjudged): {_words(found.observed)} as judged, "
        f"{corrected.value:.3f} [{corrected.low:.3f}, {corrected.high:.3f}] corrected"
        + (" (clipped to [0, 1])" if corrected.clipped else ""),
    ]


def _words(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", required=True, help="below whose analysis folder the result is written")
    parser.add_argument("--root", type=Path, default=default_root(), help="default: $INTERP_ROOT or experiments/")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="people's: .csv, or JSON lines")
    parser.add_argument("--verdicts", type=Path, required=True, metavar="FILE", help="what the judge said: .jsonl")
    parser.add_argument("--field", required=True, help="field of the verdict that the labels are about")
    parser.add_argument(
        "--at-least", type=float, metavar="X", help="a number is positive from here on (default: a boolean field)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    found = calibrate(read_labels(args.labels), args.verdicts, args.field, args.at_least)
    folder = args.root / args.experiment / "analysis" / "calibrate_judge" / args.verdicts.stem
    write_json(folder / "calibration.json", {"verdicts": args.verdicts.name, **_as_json(found)})
    print("\n".join(lines_of(found)))
    print(f"result: {folder / 'calibration.json'}")
    return 0


def _as_json(found: Calibration) -> dict[str, Any]:
    """As a dict; kappa is null where it is not defined."""
    content = asdict(found)
    if np.isnan(found.kappa.estimate):
        content["kappa"] = None
    return content


if __name__ == "__main__":
    cli.run(main)
