"""The report of a sweep: rates with their controls, log-odds, and replies to read: tables, a figure, one HTML file.

Reads   <root>/concept_injection/<experiment id>/<model>/{request.json, *.jsonl, *.verdicts/}
Writes  <root>/concept_injection/<experiment id>/<model>/report/{rates.csv, log_odds.csv, joined.jsonl, summary.md,
        dose_response.png, dose_response.svg, report.html}

Without any verdict it shows the log-odds and the replies, and says so. joined.jsonl has a trial a line with its
verdict, or with why there is none.

Example: python -m experiments.concept_injection.report --experiment-id first --model 3b
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.concept_injection import headlines, rate_tables
from experiments.concept_injection.dose_figure import save_dose_figure
from experiments.concept_injection.headlines import Headlines
from experiments.concept_injection.log_odds import find_shifts
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.rates import find_rates
from experiments.concept_injection.report_html import report_page
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.results import Results, read_calibration, read_results
from interp import cli
from interp.errors import InputError
from interp.files import human_bytes, write_text
from interp.judges.calibration import Counts
from interp.paths import default_root

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Whose verdicts; how the judge stands against people; replies to show for each cell of a concept."""

    judge_name: str | None = None
    calibration: Counts | None = None
    samples: int = 12


def write_report(paths: SweepPaths, options: Options) -> Path:
    """Write everything into the sweep's folder `report`; the page's path.

    Raises:
        InputError: there is no such sweep; or several judges gave verdicts, and none is named.
    """
    results = read_results(paths, options.judge_name)
    if options.calibration is not None and results.judge is None:
        raise InputError("a calibration corrects verdicts, and there are none: leave --calibration out, or judge first")
    rates = find_rates(results.trials, results.accepted, options.calibration)
    shifts = find_shifts(results.readouts)
    said = headlines.headlines(results, rates, shifts)
    rate_rows = rate_tables.rate_rows(rates) if results.judge else []
    odds_rows = rate_tables.log_odds_rows(shifts)
    folder = paths.folder / "report"
    write_text(folder / "rates.csv", rate_tables.as_csv(rate_rows))
    write_text(folder / "log_odds.csv", rate_tables.as_csv(odds_rows))
    write_text(folder / "joined.jsonl", rate_tables.joined_lines(results.trials))
    write_text(folder / "summary.md", summary(paths, results, said, options.calibration))
    save_dose_figure(folder, rates if results.judge else None, shifts)
    title = f"{paths.experiment_id}, {paths.model_name}"
    page = report_page(title, results, said, rate_rows, odds_rows, options.samples)
    write_text(folder / "report.html", page)
    log.info("report: %s", human_bytes(len(page.encode())))
    return folder / "report.html"


def summary(paths: SweepPaths, results: Results, said: Headlines, calibration: Counts | None) -> str:
    """The headlines as Markdown, what is missing first."""
    lines = [f"# Concept injection: {paths.experiment_id}, {paths.model_name}", ""]
    lines += [f"- **{line}**" for line in said.warnings] or ["- Nothing is missing: every trial has a verdict."]
    lines += ["", *(f"- {line}" for line in said.findings)]
    if calibration is not None:
        lines.append(
            f"- affirmed_corrected in rates.csv allows for the judge's errors on {calibration.n} labelled replies "
            f"({calibration.positives} positive)."
        )
    lines += ["", *(f"- {name}: {value}" for name, value in headlines.run_facts(results))]
    lines += [
        "", "Shares are of judged trials, with 95% intervals. Intervals by concepts say what other concepts like these",
        "would give (of 4 concepts alone they cover about 88%); those by trials hold for these concepts alone.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment-id", required=True, help="the sweep's, as it was run")
    parser.add_argument("--model", default="3b", help="the sweep's, as it was run (default: 3b)")
    parser.add_argument("--root", type=Path, default=default_root(), help="default: $INTERP_ROOT or experiments/")
    parser.add_argument("--judge-name", metavar="NAME", help="whose verdicts (default: the only judge there is)")
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE",
        help="calibration.json of analysis/calibrate_judge.py, for claims_detection: also show corrected shares",
    )
    parser.add_argument(
        "--samples", type=cli.positive, default=12,
        help="replies to show for each concept, condition, layer and strength, at most (default: 12)",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    name = SweepRequest(experiment_id="any", model=args.model).model_name
    calibration = None if args.calibration is None else read_calibration(args.calibration)
    path = write_report(
        SweepPaths(args.root, args.experiment_id, name), Options(args.judge_name, calibration, args.samples)
    )
    print(f"report: {path}")
    return 0


if __name__ == "__main__":
    cli.run(main)
