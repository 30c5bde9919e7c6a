"""Which organism carries which trait: author minus clean reader on the same tokens, for every trait and layer.

Reads   both readers' projections.
Writes  analysis/compare_readers/{differences.csv, assignments.json, summary.md, verdict.txt, matrix.png}

Example: python analysis/compare_readers.py --experiment audit-bleachers
"""

import argparse
import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.differences import TOP_SHARE, Differences, summarise
from analysis.freshness import is_fresh, made_from, note_made
from analysis.grading import Assignment, Grade, assign, grade
from analysis.readings import projected_authors, projection_files, read_paired
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import sweep_leftovers, write_json, write_text
from interp.stats import Floats

FILES = ("differences.csv", "assignments.json", "summary.md", "verdict.txt", "matrix.png")

log = logging.getLogger(__name__)


def differences_csv(found: Differences) -> str:
    """A row per (author, trait, method, layer)."""
    names = ["mean", "mean_low", "mean_high", "top", "top_low", "top_high", "effect", "z_others", "cosine"]
    values = {name: getattr(found, name) for name in names}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["author", "trait", "method", "layer", "n_prompts", *names])
    for row, author in enumerate(found.authors):
        for place, column in enumerate(found.columns):
            numbers = [f"{values[name][row, place]:.6g}" for name in names]
            writer.writerow([author, *column, int(found.n_prompts[row]), *numbers])
    return buffer.getvalue()


def summary(
    name: str,
    layers: Sequence[int],
    traits: Sequence[str],
    effects: Floats,
    assignments: Sequence[Assignment],
    grades: Grade,
    left_out: Sequence[str],
) -> str:
    """What a reader wants to know first."""
    lines = [
        f"# {name}: organisms × traits",
        "",
        f"Each entry is an effect: the mean of the largest {TOP_SHARE:.0%} of the paired differences (author − clean "
        "reader, same tokens), in standard deviations of single differences over all authors and prompts, averaged "
        f"over layers {', '.join(map(str, layers))}. {effects.size} entries were searched.",
        "",
    ]
    if left_out:
        lines += [f"Left out, for want of projections by both readers, or of any answer: {', '.join(left_out)}.", ""]
    lines += _assignment_table(assignments)
    lines += ["  \n".join(grade_lines(grades)), ""]
    lines += ["## All entries", "", f"| author | {' | '.join(traits)} |", f"|---|{'--:|' * len(traits)}"]
    for each, row in zip(assignments, effects, strict=True):
        lines.append(f"| {each.author} | {' | '.join(f'{value:.2f}' for value in row)} |")
    return "\n".join([*lines, ""])


def _assignment_table(assignments: Sequence[Assignment]) -> list[str]:
    lines = ["| author | largest entry | effect | next | effect | planted | its rank |"]
    lines.append("|---|---|--:|---|--:|---|--:|")
    for each in assignments:
        mark = "" if each.truth is None else " ✓" if each.truth == each.trait else " ✗"
        cells = [each.author, each.trait + mark, f"{each.effect:.2f}", each.runner_up, f"{each.runner_up_effect:.2f}"]
        lines.append(f"| {' | '.join([*cells, each.truth or '—', str(each.rank_of_truth or '—')])} |")
    return [*lines, ""]


def grade_lines(grades: Grade) -> list[str]:
    """How right it was, a sentence a line."""
    lines = []
    if grades.graded:
        lines.append(
            f"**{grades.right} of {grades.graded} organisms are assigned their own trait** (accuracy "
            f"{grades.accuracy.estimate:.2f}, 95% interval {grades.accuracy.low:.2f} to {grades.accuracy.high:.2f}; "
            f"blind guessing among {grades.n_traits} traits gives {grades.chance:.1f}; p = {grades.chance_p:.1g})."
        )
        lines.append(
            f"Largest entries on traits that an organism has not: median {np.median(grades.null):.2f}, "
            f"largest {grades.null.max():.2f}."
        )
        for author, value in grades.sham_max.items():
            lines.append(f"Sham `{author}`: largest entry {value:.2f} (p = {grades.sham_p[author]:.2f} against those).")
    else:
        lines.append("Nothing is known to be planted here, so nothing is graded.")
    return lines


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
    from analysis.heatmap import save_heatmap

    paired = [read_paired(experiment, author, prompt_sets) for author in complete]
    silent = [each.author for each in paired if not each.prompts]
    if silent:
        log.warning("left out, since all their responses are empty: %s", ", ".join(silent))
    answered = [each for each in paired if each.prompts]
    if not answered:
        raise InputError("every response is empty: there is nothing to compare")
    complete, left_out = [each.author for each in answered], [*left_out, *silent]
    found = summarise(answered)
    if method not in {column[1] for column in found.columns}:
        raise InputError(f"no projections of method {method!r}; there are: {sorted({c[1] for c in found.columns})}")
    traits, effects = found.over_layers(method)
    if len(traits) < 2:
        raise InputError(f"only one trait is projected ({traits[0]}): nothing can be assigned; extract more traits")
    variants = experiment.config.model_variants
    assignments = assign(complete, traits, effects, {author: variants[author].truth for author in complete})
    grades = grade(assignments, traits, effects, [each for each in complete if variants[each].role == "sham"])
    write_text(folder / "differences.csv", differences_csv(found))
    write_json(folder / "assignments.json", {"assignments": [each.model_dump() for each in assignments]})
    write_text(folder / "verdict.txt", "\n".join(line.replace("**", "") for line in grade_lines(grades)) + "\n")
    layers = sorted({layer for _, _, layer in found.columns})
    write_text(folder / "summary.md", summary(experiment.name, layers, traits, effects, assignments, grades, left_out))
    save_heatmap(folder / "matrix.png", complete, traits, effects, [each.truth for each in assignments])


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
