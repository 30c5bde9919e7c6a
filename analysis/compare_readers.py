"""Which organism carries which trait: author minus clean reader on the same tokens, for every trait and layer.

Reads   both readers' projections; markers of traits and judges' verdicts, where there are any.
Writes  analysis/compare_readers/{differences.csv, entries.csv, firing.csv, triggers.csv, assignments.json, grades.json,
        summary.md, verdict.txt, matrix.png}

Example: python analysis/compare_readers.py --experiment audit-bleachers
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from analysis.firing import Prompt, Shown, contrast_triggers, firing_files, firings, pairs_of, read_shown
from analysis.firing_tables import firing_csv, triggers_csv
from analysis.freshness import is_fresh, made_from, note_made
from analysis.grading import Assignment, Grade, assign, check_shams, gradable, grade, parts
from analysis.readings import Paired, projected_authors, projection_files, read_paired
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import sweep_leftovers, write_json, write_text
from interp.projections import Column

FILES = (
    "differences.csv", "entries.csv", "firing.csv", "triggers.csv", "assignments.json", "grades.json", "summary.md",
    "verdict.txt", "matrix.png",
)  # fmt: skip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """Whose vectors, and whose verdicts (None: those of the only judge there is)."""

    method: str
    judge: str | None


@dataclass(frozen=True)
class Told:
    """In which responses a trait showed, and which prompts should set it off."""

    shown: Shown
    pairs: Mapping[str, Sequence[tuple[Prompt, Prompt]]]


def compare(
    experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[str], method: str, judge: str | None = None
) -> Path:
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
    options: dict[str, Any] = {"authors": complete, "left_out": left_out, "method": method, "variants": roles}
    options |= {"development": list(experiment.config.development), "judge": judge}
    told_by = firing_files(experiment, complete, prompt_sets)
    made = made_from([*projection_files(experiment, complete, prompt_sets), *told_by], options)
    if not is_fresh(folder, made, FILES):
        sweep_leftovers(folder)
        _compare(experiment, complete, left_out, prompt_sets, Chosen(method, judge), folder)
        note_made(folder, made)
    return folder


def _compare(
    experiment: Experiment,
    complete: Sequence[str],
    left_out: Sequence[str],
    prompt_sets: Sequence[str],
    chosen: Chosen,
    folder: Path,
) -> None:
    paired = [read_paired(experiment, author, prompt_sets) for author in complete]
    silent = [each.author for each in paired if not each.prompts]
    if silent:
        log.warning("left out, since all their responses are empty: %s", ", ".join(silent))
    answered = [each for each in paired if each.prompts]
    if not answered:
        raise InputError("every response is empty: there is nothing to compare")
    shown = read_shown(experiment, [each.author for each in answered], prompt_sets, chosen.judge)
    pairs = pairs_of(experiment, prompt_sets)
    _write(experiment, answered, [*left_out, *silent], chosen.method, Told(shown, pairs), folder)


def _write(
    experiment: Experiment, paired: Sequence[Paired], left_out: Sequence[str], method: str, told: Told, folder: Path
) -> None:
    from analysis.heatmap import save_heatmap

    joined = join(paired)
    _refuse_method(joined.columns, method)
    variants = {author: experiment.config.model_variants[author] for author in joined.authors}
    truth = {author: variant.truth for author, variant in variants.items()}
    shams = [author for author, variant in variants.items() if variant.role == "sham"]
    peers = peers_of(variants)
    entries = find_entries(joined, peers, method, shams)
    fires = firings(told.shown, truth)
    triggers = contrast_triggers(joined.over_layers(method), told.pairs, told.shown)
    fired = {each.author: each.fired for each in fires if each.trait == truth[each.author]}
    assignments = assign(entries, truth, fired)
    grades = _grades(experiment, entries, assignments)
    verdict = grade_lines(grades.get("all"), check_shams(entries, assignments, shams))
    verdict.append(detection_line(assignments))
    layers = sorted({layer for _, of, layer in joined.columns if of == method})
    write_text(folder / "differences.csv", differences_csv(summarise(joined, peers), shams))
    write_text(folder / "entries.csv", entries_csv(entries, shams))
    write_text(folder / "firing.csv", firing_csv(fires))
    write_text(folder / "triggers.csv", triggers_csv(triggers))
    write_json(folder / "assignments.json", {"assignments": [each.model_dump() for each in assignments]})
    write_json(folder / "grades.json", grades_json(grades))
    write_text(folder / "verdict.txt", "\n".join(line.replace("**", "") for line in verdict) + "\n")
    text = summary(experiment.name, layers, entries, assignments, verdict, grades, left_out, fires, triggers)
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
    parser.add_argument("--judged-by", metavar="NAME", help="whose verdicts say what fired (default: the only judge)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = Experiment(args.experiment, args.root)
    prompt_sets = args.prompt_set or list(experiment.config.prompt_sets)
    authors = experiment.select_variants(args.model_variant)
    folder = compare(experiment, authors, prompt_sets, args.method, args.judged_by)
    print((folder / "verdict.txt").read_text(), end="")
    print(f"tables and picture: {folder}")
    return 0


if __name__ == "__main__":
    cli.run(main)
