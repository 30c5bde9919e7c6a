"""Judging replies: what the judge is shown, and where its verdicts lie. It never sees the condition."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.prompts import read_prompt
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.trials import TrialRecord
from interp.errors import InputError
from interp.jsonl import read_lines
from interp.judges.answers import Judge
from interp.judges.judging import Item, plan_judging
from interp.judges.options import judge_items, price_of
from interp.judges.rubrics import Rubric, read_rubric
from interp.judges.verdicts import VerdictFile, verdict_path
from interp.records import parse_record, read_record
from interp.stopping import stop_on_signals

log = logging.getLogger(__name__)

RUBRIC = "introspection_detection"


def values_of(record: TrialRecord, question: str) -> dict[str, str]:
    """What the rubric is filled with: the question and the reply, and nothing of what was done."""
    return {"question": question, "response": record.response}


def open_verdicts(records: Path, rubric: Rubric, judge: str) -> Path:
    """Where the verdicts on a file lie."""
    path = verdict_path(records, rubric, judge)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def items_of(records: Path, question: str) -> Iterator[Item]:
    """Every line of a file, one at a time."""
    for row in read_lines(records):
        record = parse_record(TrialRecord, row, records)
        yield record.id, values_of(record, question)


def record_files(folder: Path) -> list[Path]:
    """The files of trials in a sweep's folder.

    Raises:
        InputError: there are none.
    """
    found = sorted(path for path in folder.glob("*.jsonl") if not path.name.endswith(".log_odds.jsonl"))
    if not found:
        raise InputError(f"no trials in {folder}: run experiments/concept_injection/sweep.py, or fetch them")
    return found


def question_of(folder: Path) -> str:
    """What the replies in a sweep's folder answer.

    Raises:
        InputError: the folder has no request.json.
    """
    request = read_record(SweepRequest, folder / SweepPaths(folder, "", "").request.name)
    return read_prompt(request.prompt_version).question


def judge_files(files: Sequence[Path], question: str, judge: Judge, args: argparse.Namespace) -> str | None:
    """Have the replies of some files judged that are not yet; what is left to do, None when nothing is.

    Raises:
        Stopped: a signal came; what was answered is kept.
        JudgeUnavailable: the key, the account or the model is refused.
    """
    rubric = read_rubric(RUBRIC)
    unjudged = 0
    with stop_on_signals() as stop:
        for path in files:
            with VerdictFile(open_verdicts(path, rubric, judge.name), rubric, judge.name) as verdicts:
                items = items_of(path, question)
                tally = judge_items(items, args, judge, rubric, verdicts, stop=lambda: stop.signal is not None)
            log.info("%s: %s", path.name, tally.line())
            stop.raise_if_asked("replies to judge")
            unjudged += tally.unjudged
            if tally.stopped:
                return tally.stopped
    return f"{unjudged} replies are unjudged: the same command asks for them again" if unjudged else None


def print_plan(files: Sequence[Path], question: str, judge: Judge, args: argparse.Namespace) -> None:
    """Calls, tokens and cost, file by file; nothing is asked, nothing is left behind."""
    rubric = read_rubric(RUBRIC)
    for path in files:
        verdicts = open_verdicts(path, rubric, judge.name)
        with VerdictFile(verdicts, rubric, judge.name) as file:
            plan = plan_judging(items_of(path, question), rubric, file, price_of(args))
        if not verdicts.stat().st_size:
            verdicts.unlink()
        print(f"judge {path}: {plan.line()}")
