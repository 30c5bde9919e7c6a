"""Judge one file of trials and write it anew with the verdicts in it, for tools that want one file.

Reads   FILE of --input, with request.json beside it; the verdicts that there are
Writes  the verdicts beside it, and FILE of --output: each trial with `judge` and `judge_error`

Replies with a verdict by this judge and rubric are not asked again: it is the failed ones that are re-judged.

Example: python -m experiments.concept_injection.rejudge --judge gpt-5-mini --input fear.jsonl --output judged.jsonl
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from experiments.concept_injection.claims import joined_record, read_accepted
from experiments.concept_injection.judging import RUBRIC, judge_files, open_verdicts, question_of
from experiments.concept_injection.trials import TrialRecord
from interp import cli
from interp.errors import InputError
from interp.files import write_bytes
from interp.jsonl import read_lines
from interp.judges.options import judge_options, make_judge
from interp.judges.rubrics import read_rubric
from interp.judges.verdicts import latest_verdicts
from interp.records import parse_record

log = logging.getLogger(__name__)


def joined_lines(records: Path, verdicts: Path) -> list[str]:
    """Each trial with its verdict, or with why there is none, as JSON."""
    latest = latest_verdicts(verdicts)
    trials = [parse_record(TrialRecord, row, records) for row in read_lines(records)]
    accepted = read_accepted()
    return [joined_record(trial, latest.get(trial.id), accepted).model_dump_json() + "\n" for trial in trials]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[judge_options(required=True)],
    )
    parser.add_argument("--input", type=Path, required=True, help="a file of trials")
    parser.add_argument("--output", type=Path, required=True, help="where the trials go with their verdicts")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if not args.input.exists():
        raise InputError(f"{args.input} does not exist")
    if args.output.resolve() == args.input.resolve():
        raise InputError("--output must be another file: what the model said is never written over")
    judge = make_judge(args)
    left = judge_files([args.input], question_of(args.input.parent), judge, args)
    verdicts = open_verdicts(args.input, read_rubric(RUBRIC), judge.name)
    write_bytes(args.output, "".join(joined_lines(args.input, verdicts)).encode())
    if left is not None:
        log.warning("%s", left)
    return 0 if left is None else 1


if __name__ == "__main__":
    cli.run(main)
