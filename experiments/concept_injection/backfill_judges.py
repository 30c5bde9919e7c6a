"""Have a judge read the replies of a sweep that no judge has read yet.

Reads   <folder>/{request.json, *.jsonl}
Writes  <folder>/<file>.verdicts/<rubric>-<hash>-<judge>.jsonl; never the trials themselves

What has a verdict is not asked again; what ended in an error is. --dry-run prints calls, tokens and cost.

Example: python -m experiments.concept_injection.backfill_judges data/sweeps/sweep-3b-full/3b/ --judge gpt-5-mini \\
             --workers 8 --spend-at-most 20
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from experiments.concept_injection.judging import judge_files, print_plan, question_of, record_files
from interp import cli
from interp.judges.options import judge_options, make_judge

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[judge_options(required=True)],
    )
    parser.add_argument("folder", type=Path, help="<root>/concept_injection/<experiment id>/<model>")
    parser.add_argument("--workers", type=cli.positive, dest="max_in_flight", help="the same as --max-in-flight")
    parser.add_argument("--dry-run", action="store_true", help="print calls, tokens and cost, ask nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    files, question, judge = record_files(args.folder), question_of(args.folder), make_judge(args)
    if args.dry_run:
        print_plan(files, question, judge, args)
        return 0
    left = judge_files(files, question, judge, args)
    if left is not None:
        log.warning("%s", left)
    return 0 if left is None else 1


if __name__ == "__main__":
    cli.run(main)
