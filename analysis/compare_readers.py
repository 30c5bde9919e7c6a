"""Which organism carries which trait: author minus clean reader on the same tokens, for every trait and layer.

Reads   both readers' projections; markers of traits and judges' verdicts, where there are any.
Writes  analysis/compare_readers/{differences.csv, entries.csv, firing.csv, triggers.csv, assignments.json, grades.json,
        summary.md, verdict.txt, matrix.png}

Example: python analysis/compare_readers.py --experiment audit-bleachers
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.comparison import Comparison, compare_all
from analysis.comparison_tables import (
    detection_line,
    differences_csv,
    entries_csv,
    grade_lines,
    grades_json,
    summary,
)
from analysis.firing import firing_files, pairs_of, read_shown
from analysis.firing_tables import firing_csv, triggers_csv
from analysis.freshness import is_fresh, made_from, note_made
from analysis.readings import Paired, projected_authors, projection_files, read_paired
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import sweep_leftovers, write_json, write_text

FILES = (
    "differences.csv", "entries.csv", "firing.csv", "triggers.csv", "assignments.json", "grades.json", "summary.md",
    "verdict.txt", "matrix.png",
)  # fmt: skip

log = logging.getLogger(__name__)


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
        paired = _answered(experiment, complete, prompt_sets)
        answered = [each.author for each in paired]
        found = compare_all(
            paired, experiment.config, method, read_shown(experiment, answered, prompt_sets, judge),
            pairs_of(experiment, prompt_sets),
        )
        write(folder, experiment.name, found, [author for author in authors if author not in answered])
        note_made(folder, made)
    return folder


def _answered(experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[str]) -> list[Paired]:
    """The authors that said anything at all.

    Raises:
        InputError: none did.
    """
    paired = [read_paired(experiment, author, prompt_sets) for author in authors]
    silent = [each.author for each in paired if not each.prompts]
    if silent:
        log.warning("left out, since all their responses are empty: %s", ", ".join(silent))
    if len(silent) == len(paired):
        raise InputError("every response is empty: there is nothing to compare")
    return [each for each in paired if each.prompts]


def write(folder: Path, name: str, found: Comparison, left_out: Sequence[str]) -> None:
    """The tables, the words and the picture."""
    from analysis.heatmap import save_heatmap

    entries = found.entries
    verdict = [*grade_lines(found.grades.get("all"), found.sham_check), detection_line(found.assignments)]
    write_text(folder / "differences.csv", differences_csv(found.differences, found.shams))
    write_text(folder / "entries.csv", entries_csv(entries, found.shams))
    write_text(folder / "firing.csv", firing_csv(found.firings))
    write_text(folder / "triggers.csv", triggers_csv(found.triggers))
    write_json(folder / "assignments.json", {"assignments": [each.model_dump() for each in found.assignments]})
    write_json(folder / "grades.json", grades_json(found.grades))
    write_text(folder / "verdict.txt", "\n".join(line.replace("**", "") for line in verdict) + "\n")
    write_text(folder / "summary.md", summary(name, found, verdict, left_out))
    what = "organism − clean reader, less its peers" if entries.centred else "organism − clean reader, same tokens"
    truth = list(found.truth.values())
    save_heatmap(folder / "matrix.png", entries.authors, entries.traits, entries.estimates.effect, truth, what)


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
