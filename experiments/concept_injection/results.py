"""What a sweep's folder holds, joined: trials with their verdicts, readouts, and what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.concept_injection.claims import Accepted, JudgedTrial, judged_trial, read_accepted
from experiments.concept_injection.judging import RUBRIC, question_of, record_files, values_of
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.trials import ReadoutRecord, TrialRecord, plan_trials
from interp.errors import InputError
from interp.files import read_json
from interp.jsonl import read_lines
from interp.judges.calibration import Counts
from interp.judges.rubrics import Rubric, read_rubric
from interp.judges.verdicts import VerdictLine, latest_verdicts, read_verdicts, verdict_key, verdict_path
from interp.records import parse_record, read_record

STALE = "the verdict is on another reply: judge again"
CALIBRATED = "claims_detection"
"""The field of a verdict whose errors can be corrected for."""


@dataclass(frozen=True)
class FileCoverage:
    """A file of trials: planned (at the layers that were seen), there, judged, and log-odds there."""

    file: str
    planned: int
    trials: int
    judged: int
    readouts: int

    @property
    def unjudged(self) -> int:
        return self.trials - self.judged


@dataclass(frozen=True)
class Results:
    """A sweep's results. `judge` is None where there is no verdict; `others`: verdict files that are not used."""

    request: SweepRequest
    trials: tuple[JudgedTrial, ...]
    readouts: tuple[ReadoutRecord, ...]
    coverage: tuple[FileCoverage, ...]
    accepted: Accepted
    judge: str | None
    others: tuple[str, ...]

    @property
    def unjudged(self) -> int:
        return sum(each.unjudged for each in self.coverage)


def read_results(paths: SweepPaths, judge_name: str | None = None) -> Results:
    """Everything of one sweep.

    Args:
        judge_name: whose verdicts; needed where several judges gave some.

    Raises:
        InputError: no such sweep, a broken line, no such judge, or several and none named.
    """
    request = read_record(SweepRequest, paths.request)
    rubric, accepted = read_rubric(RUBRIC), read_accepted()
    judge = choose_judge(judges_of(paths.folder, rubric), judge_name)
    question = question_of(paths.folder)
    trials, readouts = [], []
    for path in record_files(paths.folder):
        records = [parse_record(TrialRecord, row, path) for row in read_lines(path)]
        lines = {} if judge is None else current_verdicts(path, records, rubric, judge, question)
        trials += [judged_trial(record, lines.get(record.id), accepted) for record in records]
        odds = paths.log_odds(path.stem)
        readouts += [parse_record(ReadoutRecord, row, odds) for row in read_lines(odds)]
    covered = coverage_of(request, trials, readouts)
    others = other_verdicts(paths.folder, rubric, judge)
    return Results(request, tuple(trials), tuple(readouts), covered, accepted, judge, others)


def judges_of(folder: Path, rubric: Rubric) -> list[str]:
    """The judges that gave verdicts under this rubric."""
    found = set()
    for path in folder.glob(f"*.verdicts/{rubric.name}-{rubric.hash}-*.jsonl"):
        found |= {line.judge for line, _ in zip(read_verdicts(path), range(1), strict=False)}
    return sorted(found)


def choose_judge(judges: Sequence[str], asked: str | None) -> str | None:
    """The judge that was asked for, else the only one there is; None where there is none.

    Raises:
        InputError: the one asked for gave no verdict, or there are several and none is asked for.
    """
    known = ", ".join(judges) or "none"
    if asked is not None and asked not in judges:
        raise InputError(f"no verdicts by judge {asked!r} under this version of the rubric; there are some by: {known}")
    if asked is None and len(judges) > 1:
        raise InputError(f"several judges gave verdicts; choose one with --judge-name: {known}")
    return asked or next(iter(judges), None)


def current_verdicts(
    path: Path, records: Sequence[TrialRecord], rubric: Rubric, judge: str, question: str
) -> dict[str, VerdictLine]:
    """The verdict lines on a file's replies as they are now; one on what stood there before counts as an error."""
    lines = latest_verdicts(verdict_path(path, rubric, judge))
    found = {}
    for record in records:
        line = lines.get(record.id)
        if line is not None:
            key = verdict_key(rubric, judge, rubric.messages(values_of(record, question))).hex()
            is_stale = line.verdict is not None and line.key != key
            found[record.id] = line.model_copy(update={"verdict": None, "error": STALE}) if is_stale else line
    return found


def coverage_of(
    request: SweepRequest, trials: Sequence[JudgedTrial], readouts: Sequence[ReadoutRecord]
) -> tuple[FileCoverage, ...]:
    """A row for each file that the request makes."""
    seen = {each.record.config.layer for each in trials}
    layers = request.layers or sorted(layer for layer in seen if layer is not None)
    rows = []
    for name, concept in zip(request.files, (None, *request.concepts), strict=True):
        ours = [each for each in trials if each.record.concept == concept]
        judged = sum(each.claim.outcome != "unjudged" for each in ours)
        read = sum(each.concept == concept for each in readouts)
        rows.append(FileCoverage(name, len(plan_trials(request, name, layers)), len(ours), judged, read))
    return tuple(rows)


def other_verdicts(folder: Path, rubric: Rubric, judge: str | None) -> tuple[str, ...]:
    """Verdict files that this report does not use: of another version of the rubric, or another judge."""
    used = {verdict_path(path, rubric, judge) for path in folder.glob("*.jsonl")} if judge else set()
    found = [path for path in sorted(folder.glob("*.verdicts/*.jsonl")) if path not in used and path.stat().st_size]
    return tuple(path.relative_to(folder).as_posix() for path in found)


def read_calibration(path: Path) -> Counts:
    """How a judge stands against people's labels, as `analysis/calibrate_judge.py` writes it.

    Raises:
        InputError: it is no such file, or about another field than claims_detection.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("field") != CALIBRATED:
        raise InputError(f"{path}: not about {CALIBRATED}; run analysis/calibrate_judge.py with --field {CALIBRATED}")
    try:
        return Counts(**content["counts"])
    except (KeyError, TypeError):
        raise InputError(f"{path} has no `counts` as analysis/calibrate_judge.py writes them") from None
