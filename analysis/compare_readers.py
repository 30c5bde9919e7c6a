"""Which organism carries which trait: author minus clean reader on the same tokens, for every trait and layer.

Reads   both readers' projections.
Writes  analysis/compare_readers/{differences.csv, entries.csv, assignments.json, grades.json, summary.md, verdict.txt,
        matrix.png}

Example: python analysis/compare_readers.py --experiment audit-bleachers
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from analysis.comparison_tables import (
    detection_line,
    differences_csv,
    entries_csv,
    grade_lines,
    grades_json,
    summary,
)
from analysis.contrasts import join, peers_of
from analysis.detection import Entries, find_entries
from analysis.differences import summarise
from analysis.freshness import is_fresh, made_from, note_made
from analysis.grading import Assignment, Grade, assign, check_shams, gradable, grade, parts
from analysis.readings import Paired, projected_authors, projection_files, read_paired
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import sweep_leftovers, write_json, write_text
from interp.projections import Column

FILES = (
    "differences.csv", "entries.csv", "assignments.json", "grades.json", "summary.md", "verdict.txt", "matrix.png"
)  # fmt: skip

log = logging.getLogger(__name__)


def compare(experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[str], method: str) -> Path:
    """Compare and write the tables and the picture, unless they are there already; their folder."""
    for name in prompt_sets:
        experiment.prompt_set(name)  # an unknown one is named with those that there are
    complete, left_out = projected_authors(experiment, authors, prompt_sets)
    if not complete:
        raise InputError(f"no author of {experiment.name} has both readers' projections: finish phase 3 first")
    if left_out:
        log.warning("left out for want of projections: %s", ", ".join(left_out))
    folder = experiment.paths.analysis / "compare_readers"
    roles = {name: variant.model_dump(mode="json") for name, variant in experiment.config.model_variants.items()}
    options = {"authors": complete, "left_out": left_out, "method": method, "variants": roles}
    options["development"] = list(experiment.config.development)
    made = made_from(projection_files(experiment, complete, prompt_sets), options)
    if not is_fresh(folder, made, FILES):
        sweep_leftovers(folder)
        _compare(experiment, complete, left_out, prompt_sets, method, folder)
        note_made(folder, made)
    return folder


def _compare(
    experiment: Experiment,
    complete: Sequence[str],
    left_out: Sequence[str],
    prompt_sets: Sequence[str],
    method: str,
    folder: Path,
) -> None:
    paired = [read_paired(experiment, author, prompt_sets) for author in complete]
    silent = [each.author for each in paired if not each.prompts]
    if silent:
        log.warning("left out, since all their responses are empty: %s", ", ".join(silent))
    answered = [each for each in paired if each.prompts]
    if not answered:
        raise InputError("every response is empty: there is nothing to compare")
    _write(experiment, answered, [*left_out, *silent], method, folder)


def _write(
    experiment: Experiment, paired: Sequence[Paired], left_out: Sequence[str], method: str, folder: Path
) -> None:
    from analysis.heatmap import save_heatmap

    joined = join(paired)
    _refuse_method(joined.columns, method)
    variants = {author: experiment.config.model_variants[author] for author in joined.authors}
    truth = {author: variant.truth for author, variant in variants.items()}
    shams = [author for author, variant in variants.items() if variant.role == "sham"]
    peers = peers_of(variants)
    entries = find_entries(joined, peers, method, shams)
    assignments = assign(entries, truth)
    grades = _grades(experiment, entries, assignments)
    verdict = grade_lines(grades.get("all"), check_shams(entries, assignments, shams))
    verdict.append(detection_line(assignments))
    layers = sorted({layer for _, of, layer in joined.columns if of == method})
    write_text(folder / "differences.csv", differences_csv(summarise(joined, peers), shams))
    write_text(folder / "entries.csv", entries_csv(entries, shams))
    write_json(folder / "assignments.json", {"assignments": [each.model_dump() for each in assignments]})
    write_json(folder / "grades.json", grades_json(grades))
    write_text(folder / "verdict.txt", "\n".join(line.replace("**", "") for line in verdict) + "\n")
    text = summary(experiment.name, layers, entries, assignments, verdict, grades, left_out)
    write_text(folder / "summary.md", text)
    effects = entries.estimates.effect
    what = "organism − clean reader, less its peers" if entries.centred else "organism − clean reader, same tokens"
    save_heatmap(folder / "matrix.png", joined.authors, entries.traits, effects, list(truth.values()), what)


def _grades(experiment: Experiment, entries: Entries, assignments: Sequence[Assignment]) -> dict[str, Grade]:
    """A grade for each part of the authors of whom it is known what they carry."""
    known = {each.author: each for each in gradable(assignments, experiment.config.model_variants)}
    return {
        name: grade(entries, [known[author] for author in members])
        for name, members in parts(experiment.config, list(known)).items()
    }


def _refuse_method(columns: Sequence[Column], method: str) -> None:
    if method not in {of for _, of, _ in columns}:
        raise InputError(f"no projections of method {method!r}; there are: {sorted({of for _, of, _ in columns})}")
    traits = sorted({trait for trait, of, _ in columns if of == method})
    if len(traits) < 2:
        raise InputError(f"only one trait is projected ({traits[0]}): nothing can be assigned; extract more traits")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[cli.experiment_options()]
    )
    parser.add_argument("--method", default="mean_difference", help="of the vectors (default: mean_difference)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = Experiment(args.experiment, args.root)
    prompt_sets = args.prompt_set or list(experiment.config.prompt_sets)
    folder = compare(experiment, experiment.select_variants(args.model_variant), prompt_sets, args.method)
    print((folder / "verdict.txt").read_text(), end="")
    print(f"tables and picture: {folder}")
    return 0


if __name__ == "__main__":
    cli.run(main)
