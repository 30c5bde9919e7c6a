"""The report to read in the morning: one HTML file with what was run, what is missing, what was found and where.

Reads   analysis/compare_readers, other tables of analysis/, both readers' projections, responses, the vectors'
        provenance, config and prompt sets.
Writes  analysis/report.html

The file needs no network and no other file; its links lead to the files that its numbers come from.

Example: python analysis/report.py --experiment audit-bleachers
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import report_numbers, report_run
from analysis.freshness import is_fresh, made_from, note_made
from analysis.report_html import page_files, render
from analysis.report_numbers import Table
from analysis.report_responses import Candidate, Shown, keep_within, rank_candidates
from analysis.report_run import REPORT
from analysis.top_activating_responses import Choice, choose_vectors
from interp import cli
from interp.config import Experiment
from interp.files import human_bytes, read_json, write_text
from interp.pages.single_page import as_script_data

OTHER_TABLES_BYTES = 2_000_000
"""Other analyses' CSV files are shown as tables up to this size together; the rest are linked."""

PAGE_BYTES = 28_000_000
"""What the entries and the responses may come to: a page is under 30 MB however many methods and layers there are."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Which vectors speak for the traits, and how much is shown token by token."""

    method: str
    top_n: int
    detail_bytes: int


def write_report(
    experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[str], options: Options
) -> Path:
    """Write the report, unless it is there already and would say the same; its path."""
    folder = experiment.paths.analysis
    choices = choose_vectors(experiment, options.method, None)
    rows = report_run.coverage(experiment, authors, prompt_sets)
    asked = {
        "authors": list(authors),
        "prompt_sets": list(prompt_sets),
        "options": [options.method, options.top_n, options.detail_bytes],
        "vectors": report_run.vectors(experiment, choices),
        "coverage": rows,
        "files": report_run.analysis_files(experiment),
    }
    made = made_from([*page_files(), *report_run.inputs(experiment, authors, prompt_sets)], asked)
    if not is_fresh(folder, made, [REPORT]):
        entries = read_entries(folder / "compare_readers", authors, options.method)
        shown = responses_shown(experiment, authors, prompt_sets, choices, entries, options)
        data = page_data(experiment, authors, prompt_sets, choices, entries, shown, options)
        page = render(f"{experiment.name}: audit report", {**data, "coverage": rows}, shown.details)
        write_text(folder / REPORT, page)
        note_made(folder, made)
        log.info("report: %s, %d responses token by token", human_bytes(len(page.encode())), shown.kept)
    return folder / REPORT


def read_entries(folder: Path, authors: Sequence[str], method: str) -> Table:
    """Every entry of the comparison: by layer, and of all layers together where a table of those lies beside."""
    entries = report_numbers.read_entries(folder / "differences.csv", authors)
    over_layers = folder / "entries.csv"
    if not over_layers.exists():
        return entries
    return report_numbers.joined(entries, report_numbers.read_csv(over_layers).of_authors(authors), method)


def responses_shown(
    experiment: Experiment,
    authors: Sequence[str],
    prompt_sets: Sequence[str],
    choices: Sequence[Choice],
    entries: Table,
    options: Options,
) -> Shown:
    """What is shown token by token, thinned to the budget."""
    size = report_numbers.mean_over_layers(entries, report_numbers.leading_statistic(entries), options.method)
    candidates: list[Candidate] = []
    scored = 0
    for author in authors:
        ranks = trait_ranks([choice.trait for choice in choices], author, size)
        names = report_run.with_tokens(experiment, author, prompt_sets)
        found, count = rank_candidates(experiment, author, names, choices, ranks, options.top_n)
        candidates += found
        scored += count
    room = PAGE_BYTES - OTHER_TABLES_BYTES - len(as_script_data(report_numbers.packed(entries)))
    return keep_within(experiment, candidates, scored, min(options.detail_bytes, max(room, 0)))


def trait_ranks(traits: Sequence[str], author: str, size: dict[tuple[str, str], float]) -> dict[str, int]:
    """Each trait's rank among an author's, from 1: the largest value first, those without one last, then by name."""
    ordered = sorted(traits, key=lambda trait: (-size.get((author, trait), float("-inf")), trait))
    return {trait: rank for rank, trait in enumerate(ordered, start=1)}


def page_data(
    experiment: Experiment,
    authors: Sequence[str],
    prompt_sets: Sequence[str],
    choices: Sequence[Choice],
    entries: Table,
    shown: Shown,
    options: Options,
) -> dict[str, Any]:
    """All that the page says at once."""
    folder = experiment.paths.analysis
    files = report_run.analysis_files(experiment)
    compared = set(entries.column("author"))
    entry_files = [name for name in ("compare_readers/differences.csv", "compare_readers/entries.csv") if name in files]
    return {
        "experiment": experiment.name,
        "authors": [author for author in authors if author in compared],
        "left_out": [author for author in authors if author not in compared],
        "method": options.method,
        "leading": report_numbers.leading_statistic(entries),
        "entries": report_numbers.packed(entries),
        "verdict": _lines(folder / "compare_readers" / "verdict.txt"),
        "grades": _grades(folder / "compare_readers" / "grades.json"),
        "assignments": _assignments(folder / "compare_readers" / "assignments.json", compared),
        "settings": report_run.settings(experiment),
        "models": report_run.models(experiment),
        "prompt_sets": report_run.prompt_sets(experiment, prompt_sets),
        "vectors": report_run.vectors(experiment, choices),
        "readers": report_run.own_reading(experiment),
        "config": report_run.link(experiment, experiment.paths.config),
        "thinning": {"kept": shown.kept, "ranked": shown.ranked, "scored": shown.scored, "top_n": options.top_n},
        "files": files,
        "tables": other_tables(folder, files, entry_files),
        "entry_files": entry_files,
    }


def other_tables(folder: Path, files: Sequence[str], entry_files: Sequence[str]) -> list[dict[str, Any]]:
    """Other analyses' CSV files, as far as they fit."""
    found, left = [], OTHER_TABLES_BYTES
    for name in files:
        if name.endswith(".csv") and name not in entry_files:
            left -= (folder / name).stat().st_size
            if left >= 0:
                found.append({"file": name, "columns": report_numbers.packed(report_numbers.read_csv(folder / name))})
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _grades(path: Path) -> list[dict[str, Any]]:
    """A row per part of the organisms that was graded, intervals spelt out."""
    rows = []
    for name, grade in (read_json(path) if path.exists() else {}).items():
        cells = {key.replace("_", " "): _grade_cell(value) for key, value in grade.items()}
        rows.append({"organisms": name, **{key: value for key, value in cells.items() if value is not None}})
    return rows


def _grade_cell(value: Any) -> Any:
    if isinstance(value, dict):
        return f"{value['estimate']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _assignments(path: Path, authors: set[str]) -> list[dict[str, Any]]:
    found = read_json(path)["assignments"] if path.exists() else []
    return [each for each in found if each["author"] in authors]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[cli.experiment_options()]
    )
    parser.add_argument("--method", default="mean_difference", help="of the vectors (default: mean_difference)")
    parser.add_argument(
        "--top-n", type=cli.positive, default=20,
        help="responses to show token by token, per organism and trait, at most (default: 20)",
    )  # fmt: skip
    parser.add_argument(
        "--detail-mb", type=cli.positive_number, default=14.0,
        help="MB of responses to show token by token, in all, at most (default: 14)",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = Experiment(args.experiment, args.root)
    options = Options(args.method, args.top_n, int(args.detail_mb * 1e6))
    authors = experiment.select_variants(args.model_variant)
    path = write_report(experiment, authors, args.prompt_set or list(experiment.config.prompt_sets), options)
    print(f"report: {path}")
    return 0


if __name__ == "__main__":
    cli.run(main)
