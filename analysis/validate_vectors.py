"""How far trait vectors can be trusted: do they separate held-out questions, agree, and cause the trait when steered?

Reads   vectors/<trait>/<method>.safetensors and vectors/<trait>/steering.parquet (inference/steer_with_vectors.py);
        with --judge also vectors/<trait>/steered_responses.parquet and the trait files
Writes  analysis/validate_vectors/{separation.csv, steering.csv, dose_response.csv, agreement.csv, summary.md,
        dose_response.png}; with --judge also judged.csv there, and what the judge said in
        vectors/<trait>/steered_responses.verdicts/<rubric>-<hash>-<judge>.jsonl

The layer is chosen on one half of the held-out questions or sentences and reported on the other. A judge is asked about
each steered reply once; a second run asks for what is not judged yet.

Example: python analysis/validate_vectors.py --experiment audit-bleachers
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.dose_figure import save_dose_figure
from analysis.dose_response import DoseResponse, dose_responses
from analysis.freshness import is_fresh, made_from, note_made
from analysis.judged_tables import judged_csv, judged_lines
from analysis.separation import Separated
from analysis.steering_verdicts import RUBRIC, FoundReplies, Judged, find_replies, judge_replies, plan_lines
from analysis.validation_tables import (
    agreement_csv,
    dose_response_csv,
    separation_csv,
    steering_csv,
    summary,
)
from analysis.vector_agreement import Agreement, agreements
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import is_whole, sweep_leftovers, write_text
from interp.judges.options import judge_options, make_judge
from interp.judges.rubrics import read_rubric
from interp.manifest import file_hash
from interp.records import Provenance
from interp.steering_store import load_steering, steering_path
from interp.vector_store import list_vectors, read_directions, read_provenance

FILES = ("separation.csv", "steering.csv", "dose_response.csv", "agreement.csv", "summary.md")
JUDGED = "judged.csv"
MIN_TEXTS = 4
"""Held-out texts below which there is nothing to halve."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """All that is said of an experiment's vectors, and of which traits something could not be said."""

    provenances: dict[tuple[str, str], Provenance]
    separated: dict[tuple[str, str], Separated]
    steered: list[DoseResponse]
    readouts: dict[str, str]
    agreed: list[Agreement]
    left_out: dict[str, str]


def validate(paths: Sequence[Path], folder: Path) -> Validation:
    """Everything that the files of some vectors below `folder` say.

    Raises:
        InputError: steering was measured with other vectors than there are.
    """
    provenances = {(path.parent.name, path.stem): read_provenance(path) for path in paths}
    reasons = {key: _why_not_separated(made) for key, made in provenances.items()}
    left_out = {" ".join(key): why for key, why in reasons.items() if why}
    separated = {
        key: Separated(made.layers, np.array(made.held_out_positive), np.array(made.held_out_negative))
        for key, made in provenances.items()
        if not reasons[key]
    }
    steered, readouts = _read_steering(paths, folder, left_out)
    return Validation(provenances, separated, steered, readouts, _agreements(paths, provenances), left_out)


def _why_not_separated(made: Provenance) -> str | None:
    if not made.held_out_positive:
        return "no held-out scores (extract again with --overwrite)"
    return f"fewer than {MIN_TEXTS} held-out questions" if made.n_held_out < MIN_TEXTS else None


def _read_steering(
    paths: Sequence[Path], folder: Path, left_out: dict[str, str]
) -> tuple[list[DoseResponse], dict[str, str]]:
    """What was steered with, and on what each trait was read; adds to `left_out` what cannot be said."""
    steered: list[DoseResponse] = []
    readouts: dict[str, str] = {}
    methods = {path.stem for path in paths}
    for trait in sorted({path.parent.name for path in paths}):
        path = steering_path(folder, trait)
        if not is_whole(path):
            left_out[trait] = "not steered yet (inference/steer_with_vectors.py)"
            continue
        steering = load_steering(path)
        _refuse_other_vectors(path, steering.provenance.vectors)
        if len(steering.provenance.items) < MIN_TEXTS:
            left_out[trait] = f"fewer than {MIN_TEXTS} texts to read steering on"
            continue
        steered += [response for response in dose_responses(steering) if response.method in methods]
        readouts[trait] = steering.provenance.readout
    return steered, readouts


def _refuse_other_vectors(path: Path, vectors: dict[str, str]) -> None:
    for method, digest in vectors.items():
        file = path.with_name(f"{method}.safetensors")
        if not file.exists() or file_hash(file) != digest:
            raise InputError(f"{path} was measured with another {file.name}: steer again with --overwrite")


def _agreements(paths: Sequence[Path], provenances: dict[tuple[str, str], Provenance]) -> list[Agreement]:
    found: list[Agreement] = []
    for trait in sorted({path.parent.name for path in paths}):
        directions = [
            (path.stem, layer, direction)
            for path in paths
            if path.parent.name == trait
            for layer, direction in zip(provenances[trait, path.stem].layers, read_directions(path), strict=True)
        ]
        found += agreements(trait, directions)
    return found


def vectors_to_validate(experiment: Experiment, traits: list[str] | None, methods: list[str] | None) -> list[Path]:
    """The vectors' files.

    Raises:
        InputError: there are none, or an asked one is missing.
    """
    folder = experiment.paths.vectors
    paths = list_vectors(folder, traits, methods)
    if not paths:
        raise InputError(f"no trait vectors in {folder}: run inference/extract_trait_vectors.py first")
    return paths


def write_validation(experiment: Experiment, paths: Sequence[Path], judged: Judged | None = None) -> Path:
    """Validate vectors and write the tables and the picture, unless they are there already; their folder."""
    folder = experiment.paths.analysis / "validate_vectors"
    made = _made_from(experiment, paths, judged)
    if is_fresh(folder, made, (*FILES, JUDGED) if judged else FILES):
        log.info("validate: the inputs have not changed")
        return folder
    sweep_leftovers(folder)
    _write_tables(experiment, folder, validate(paths, experiment.paths.vectors), judged)
    note_made(folder, made)
    return folder


def _made_from(experiment: Experiment, paths: Sequence[Path], judged: Judged | None) -> str:
    """The fingerprint of all that the tables follow from; verdicts are in it where a judge was asked."""
    vectors = experiment.paths.vectors
    steering = [steering_path(vectors, trait) for trait in sorted({path.parent.name for path in paths})]
    inputs = [*paths, *(path for path in steering if is_whole(path))]
    options: dict[str, object] = {"names": [str(path.relative_to(vectors)) for path in inputs]}
    if judged is None:
        return made_from(inputs, options)
    said = [judged.judge, judged.rubric, judged.left_out, judged.stopped, [path.name for path in judged.files]]
    return made_from([*inputs, *judged.files], {**options, "judged": said})


def _write_tables(experiment: Experiment, folder: Path, found: Validation, judged: Judged | None) -> None:
    norms = {
        (*key, layer): norm
        for key, each in found.provenances.items()
        for layer, norm in zip(each.layers, each.norms, strict=True)
    }
    write_text(folder / "separation.csv", separation_csv(found.separated))
    write_text(folder / "steering.csv", steering_csv(found.steered, norms))
    write_text(folder / "dose_response.csv", dose_response_csv(found.steered))
    write_text(folder / "agreement.csv", agreement_csv(found.agreed))
    if found.steered:
        save_dose_figure(folder / "dose_response.png", found.steered)
    if judged:
        write_text(folder / JUDGED, judged_csv(judged.steered))
    else:
        (folder / JUDGED).unlink(missing_ok=True)  # of a run with a judge, which the new summary says nothing of
    text = summary(
        experiment.name, found.separated, found.steered, found.readouts, found.agreed, found.left_out,
        judged_lines(judged) if judged else (),
    )  # fmt: skip
    write_text(folder / "summary.md", text)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[cli.experiment_options(), judge_options()],
    )
    parser.add_argument("--traits", type=cli.names, help="names (default: all that have vectors)")
    parser.add_argument("--methods", type=cli.names, help="of the vectors (default: all that there are)")
    parser.add_argument(
        "--dry-run", action="store_true", help="with --judge: print calls, tokens and cost, ask and write nothing"
    )
    return parser


def replies_to_judge(experiment: Experiment, paths: Sequence[Path]) -> FoundReplies:
    """The steered replies of some vectors.

    Raises:
        InputError: there are none, or they were made with other vectors than there are.
    """
    found = find_replies(experiment, paths)
    for each in found.replies:
        _refuse_other_vectors(each.files[0], each.responses.provenance.vectors)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.dry_run and not args.judge:
        raise InputError("--dry-run says what judging would take: give --judge too")
    experiment = Experiment(args.experiment, args.root)
    paths = vectors_to_validate(experiment, args.traits, args.methods)
    judged = None
    if args.judge:
        found, rubric, judge = replies_to_judge(experiment, paths), read_rubric(RUBRIC), make_judge(args)
        if args.dry_run:
            print(*plan_lines(found, judge, rubric, args), sep="\n")
            return 0
        judged = judge_replies(found, judge, rubric, args)
    folder = write_validation(experiment, paths, judged)
    print(f"tables and picture: {folder}")
    return 0 if judged is None else _status(judged)


def _status(judged: Judged) -> int:
    """1 while replies are unjudged."""
    if judged.n_unjudged:
        why = judged.stopped or "the same command asks for them again"
        log.warning("%d of %d steered replies are unjudged: %s", judged.n_unjudged, judged.n_replies, why)
    return int(judged.n_unjudged > 0)


if __name__ == "__main__":
    cli.run(main)
