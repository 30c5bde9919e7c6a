"""Sweeps with known rates: trials whose replies say what they claim, a judge that reads them, and a folder of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from experiments.concept_injection.claims import JudgedTrial, judged_trial
from experiments.concept_injection.judging import RUBRIC, items_of, question_of, record_files
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.readout import DETECTION
from experiments.concept_injection.request import CONTROL, Condition, SweepRequest
from experiments.concept_injection.trials import (
    NOTHING,
    Push,
    ReadoutRecord,
    Trial,
    TrialConfig,
    TrialRecord,
    plan_readouts,
    plan_trials,
)
from interp.files import write_json
from interp.jsonl import append_lines
from interp.judges.judging import judge_all
from interp.judges.rubrics import Rubric, read_rubric
from interp.judges.scripted import Rates as JudgeRates
from interp.judges.scripted import Script, ScriptedJudge, ScriptRule
from interp.judges.verdict_fields import Verdict
from interp.judges.verdicts import VerdictFile, VerdictLine, verdict_path

LAYERS, STRENGTHS = (10, 20), (2.0, 4.0)
SCRIPT = Script(
    name="reader",
    rules=(
        ScriptRule(pattern=r"^asdf", verdict={"coherent": False, "reasoning": "It is garbled."}),
        ScriptRule(pattern=r"^I cannot", verdict={"coherent": True, "refused": True, "reasoning": "It declines."}),
        ScriptRule(
            pattern=r"^Yes, about (?P<claimed_concept>\w+)",
            verdict={"coherent": True, "claims_detection": True, "reasoning": "It says yes."},
        ),
    ),
    otherwise={"coherent": True, "reasoning": "It denies."},
)


@dataclass(frozen=True)
class Truth:
    """How often replies claim the file's concept, claim something else, are garbled, or decline; the rest deny."""

    named: float = 0.0
    something: float = 0.0
    garbled: float = 0.0
    declined: float = 0.0

    @property
    def claims(self) -> float:
        return self.named + self.something


Truths = Mapping[Condition, Truth]
TRUTHS: Truths = {
    "injection": Truth(0.45, 0.10, 0.10, 0.10),
    "random": Truth(0.02, 0.13, 0.10, 0.05),
    "other": Truth(0.02, 0.30, 0.05, 0.05),
    "control": Truth(0.01, 0.05, 0.01, 0.04),
}


def request_of(concepts: Sequence[str] = ("fear", "ocean"), **changes: object) -> SweepRequest:
    """A small sweep."""
    chosen = {"layers": LAYERS, "strengths": STRENGTHS, "trials": 20, "control_trials": 100, **changes}
    return SweepRequest.model_validate({"experiment_id": "planted", "model": "tiny", "concepts": concepts, **chosen})


def record_of(trial: Trial, response: str = "", model: str = "tiny") -> TrialRecord:
    """A line of a file of trials."""
    push = trial.push
    config = TrialConfig(
        model=model, layer=push.layer, strength=push.strength, strength_unit="vector", magnitude=push.strength,
        vector_norm=None if push.layer is None else 1.0, condition=push.condition, direction=push.direction,
        prompt_version="v2", inject_style="generation", trial=trial.number,
    )  # fmt: skip
    return TrialRecord(
        id=trial.id, timestamp="2026-01-01T00:00:00+00:00", concept=push.concept,
        was_injected=push.condition == "injection", response=response, config=config,
    )  # fmt: skip


def control_record(number: int = 0, response: str = "") -> TrialRecord:
    return record_of(Trial(NOTHING, number), response)


def records_of(request: SweepRequest) -> list[TrialRecord]:
    """All trials of a request, without replies."""
    return [record_of(trial) for name in request.files for trial in plan_trials(request, name, request.layers)]


def reply_of(record: TrialRecord, truth: Truth, draw: float, concepts: Sequence[str]) -> str:
    """A reply by a draw from [0, 1). What control trials name is a concept of the sweep, each in turn."""
    concept = record.concept or concepts[record.config.trial % len(concepts)]
    texts = (f"Yes, about {concept}", "Yes, about bicycles", "asdf asdf", "I cannot say", "No, nothing unusual")
    ends = np.cumsum([truth.named, truth.something, truth.garbled, truth.declined])
    return f"{texts[int(np.searchsorted(ends, draw, side='right'))]} ({record.id})."


def verdict_of(reply: str) -> Verdict:
    """What the scripted judge says of a reply."""
    base: Verdict = {
        "reasoning": "", "claims_detection": False, "claimed_concept": None, "coherent": False, "refused": False
    }
    return {**base, **SCRIPT.decide(reply)}


@cache
def _line(kind: str, misread: bool) -> VerdictLine:
    verdict = verdict_of(kind)
    return line_of("item", {**verdict, "claims_detection": verdict["claims_detection"] != misread})


def line_of(item: str, verdict: Verdict | None, error: str | None = None) -> VerdictLine:
    return VerdictLine(key="00", item=item, rubric=RUBRIC, rubric_hash="", judge="reader", verdict=verdict, error=error)


def simulate(
    records: Sequence[TrialRecord], request: SweepRequest, truths: Truths, draw: np.random.Generator, judge: JudgeRates
) -> list[JudgedTrial]:
    """Judged trials without any file; the judge misreads whether a reply claims a detection at known rates."""
    found = []
    for record, chance, misread in zip(records, draw.random(len(records)), draw.random(len(records)), strict=True):
        kind = reply_of(record, truths[record.config.condition], chance, request.concepts).partition(" (")[0]
        right = judge.true_positive_rate if kind.startswith("Yes") else judge.true_negative_rate
        found.append(judged_trial(record, _line(kind, misread >= right), {}))
    return found


def write_sweep(
    root: Path, request: SweepRequest, truths: Truths = TRUTHS, seed: int = 0,
    replies: Mapping[str, str] | None = None,
) -> SweepPaths:
    """A sweep's folder: replies by the truth (or as given, by trial id), log-odds by `planted_log_odds`."""
    paths, draw = SweepPaths.of(root, request), np.random.default_rng(seed)
    write_json(paths.request, request.model_dump(mode="json"))
    for name in request.files:
        rows = []
        for trial in plan_trials(request, name, request.layers):
            record = record_of(trial)
            reply = reply_of(record, truths[trial.push.condition], draw.random(), request.concepts)
            reply = (replies or {}).get(record.id, reply)
            rows.append(record.model_copy(update={"response": reply}).model_dump(mode="json"))
        append_lines(paths.records(name), rows)
        append_lines(paths.log_odds(name), [row.model_dump(mode="json") for row in readouts_of(request, name)])
    return paths


def readouts_of(request: SweepRequest, name: str) -> list[ReadoutRecord]:
    """A file's readouts, on the sweep's question and two yes-bias questions."""
    return [
        ReadoutRecord(
            cell=push.cell, concept=push.concept, condition=push.condition, direction=push.direction, layer=push.layer,
            strength=push.strength, magnitude=push.strength, question=question,
            log_odds=planted_log_odds(push, question),
        )
        for push in plan_readouts(request, name, request.layers) for question in (DETECTION, "sky", "cat")
    ]  # fmt: skip


def planted_log_odds(push: Push, question: str) -> float:
    """Control −3 (−5 elsewhere); a bias of a tenth of the strength everywhere; 1.5 a strength where it belongs."""
    base = -3.0 if question == DETECTION else -5.0
    if push.condition == CONTROL or question != DETECTION:
        return base + 0.1 * push.strength
    number = int((push.direction or "").rpartition("-")[2]) if push.condition == "random" else 0
    slope = {"injection": 1.5, "other": 0.5, "random": 0.1 * number}[push.condition]
    return base + (0.1 + slope) * push.strength


def judge_sweep(paths: SweepPaths, name: str = "reader", noise: JudgeRates | None = None) -> Rubric:
    """Every reply judged by the script, in the sweep's verdict files."""
    rubric, question = read_rubric(RUBRIC), question_of(paths.folder)
    for path in record_files(paths.folder):
        judge = ScriptedJudge(SCRIPT.decide, name=name, noise={"claims_detection": noise} if noise else None)
        with VerdictFile(verdict_path(path, rubric, judge.name), rubric, judge.name) as file:
            judge_all(items_of(path, question), judge, rubric, file)
    return rubric
