"""Whether both sides found the same: token ids, and the mean projections on every vector."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from interp.config import Experiment
from interp.paths import OWN_READER
from interp.projections import read_table
from interp.records import Record, Response, read_record


class Agreement(Record):
    """Counts of responses and of projections (a mean over a response's tokens, per reader, trait, method and layer).

    Projections are compared where both sides read the same tokens; the other readings are counted by why not.
    """

    responses: int
    response_tokens: int
    same_tokens: int
    readings: int
    readings_compared: int
    readings_left_out: dict[str, int]
    projections_compared: int
    largest_difference: float
    spread: float
    """Standard deviation of the compared projections: what a difference is to be measured against."""
    correlation: float


def compare(baseline: Job, ours: Job) -> Agreement:
    """The baseline's files against ours."""
    experiment = Experiment(ours.experiment, ours.root)
    same, responses = 0, 0
    n_tokens = 0
    why: Counter[str] = Counter()
    pairs: list[tuple[float, float]] = []
    for author in experiment.audited:
        for name in experiment.config.prompt_sets:
            own = _our_responses(experiment, author, name)
            theirs = {each: _baseline_ids(baseline, author, name, each) for each in own}
            responses += len(own)
            n_tokens += sum(map(len, own.values()))
            same += sum(theirs[each] == ids for each, ids in own.items())
            for reader in (OWN_READER, experiment.config.clean_reader):
                folder = baseline.folder / "inference" / author / "projections" / reader
                reading = _Reading(folder, name, own, theirs)
                why += reading.outcomes()
                pairs += reading.pairs(read_table(experiment.paths.projections(author, name, reader)).to_pylist())
    return _summary(responses, n_tokens, same, why, np.array(pairs, dtype=np.float64).reshape(-1, 2))


class _Reading:
    """One reader's baseline projections of one author's responses to one prompt set."""

    def __init__(
        self, folder: Path, prompt_set: str, own: dict[str, list[int]], theirs: dict[str, list[int]]
    ) -> None:
        self.own, self.theirs = own, theirs
        self.read: dict[str, list[int]] = {}
        self.scores: dict[tuple[str, str, str, int], list[float]] = {}
        for path in folder.glob(f"*/{prompt_set}/*.json"):
            content = json.loads(path.read_bytes())
            self.read[path.stem] = content["token_ids"]
            for entry in content["projections"]:
                self.scores[path.stem, content["trait"], entry["method"], entry["layer"]] = entry["scores"]
        lengths = {prompt_id: len(scores) for (prompt_id, *_), scores in self.scores.items()}
        self.why = {prompt_id: self._outcome(prompt_id, lengths[prompt_id]) for prompt_id in own}

    def _outcome(self, prompt_id: str, n_scores: int) -> str:
        if self.theirs[prompt_id] != self.own[prompt_id]:
            return "another answer was generated"
        if self.read[prompt_id] != self.own[prompt_id]:
            return "the text was tokenised otherwise on replay"
        return "compared" if n_scores == len(self.own[prompt_id]) else "hooks on decoding missed the last token"

    def outcomes(self) -> Counter[str]:
        return Counter(self.why.values())

    def pairs(self, rows: list[dict[str, Any]]) -> Iterator[tuple[float, float]]:
        """Baseline's mean and ours, for every row of ours that can be compared."""
        for row in rows:
            if self.why[row["prompt_id"]] == "compared":
                key = (row["prompt_id"], row["trait"], row["method"], row["layer"])
                yield float(np.mean(self.scores[key])), row["mean"]


def _summary(
    responses: int, n_tokens: int, same: int, why: Counter[str], pairs: "np.ndarray[Any, np.dtype[np.float64]]"
) -> Agreement:
    enough = len(pairs) > 1
    return Agreement(
        responses=responses,
        response_tokens=n_tokens,
        same_tokens=same,
        readings=why.total(),
        readings_compared=why["compared"],
        readings_left_out={reason: count for reason, count in sorted(why.items()) if reason != "compared"},
        projections_compared=len(pairs),
        largest_difference=float(np.abs(pairs[:, 0] - pairs[:, 1]).max(initial=0.0)),
        spread=float(pairs[:, 1].std()) if enough else 0.0,
        correlation=float(np.corrcoef(pairs.T)[0, 1]) if enough else 1.0,
    )


def _our_responses(experiment: Experiment, author: str, prompt_set: str) -> dict[str, list[int]]:
    folder = experiment.paths.responses(author, prompt_set)
    prompts = experiment.prompt_set(prompt_set).prompts
    return {each.id: list(read_record(Response, folder / f"{each.id}.json").response_ids) for each in prompts}


def _baseline_ids(baseline: Job, author: str, prompt_set: str, prompt_id: str) -> list[int]:
    path = baseline.folder / "inference" / author / "responses" / prompt_set / f"{prompt_id}.json"
    ids: list[int] = json.loads(path.read_bytes())["response_ids"]
    return ids
