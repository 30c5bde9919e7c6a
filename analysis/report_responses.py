"""The responses that the report shows token by token, thinned so that the page opens at once.

Of each organism and trait the responses are ranked by the mean of their five largest paired differences. Where not all
fit, the n-th response of an organism's m-th trait goes before those with a larger n · m: what stands out keeps many.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.readings import projection_files
from analysis.spans import top_mean
from analysis.top_activating_responses import Choice
from interp.config import Experiment
from interp.files import list_names
from interp.projections import Column, read_scores
from interp.records import Response, read_record
from interp.stats import Floats

BEST_TOKENS = 5

TokenScores = dict[Column, dict[str, Floats]]


@dataclass(frozen=True)
class Quantised:
    """Numbers in a byte each: value ≈ byte · scale, at most half a scale off."""

    scale: float
    data: str

    @classmethod
    def of(cls, values: Floats) -> "Quantised":
        """With the scale that sends the largest to 127; the bytes are signed, in base64."""
        scale = float(f"{np.abs(values).max(initial=0) / 127:.4g}") or 1.0
        whole = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
        return cls(scale, base64.b64encode(whole.tobytes()).decode())


@dataclass(frozen=True)
class Candidate:
    """A response that may be shown under an organism's trait.

    `rank` and `trait_rank` count from 1; `difference` is author − clean reader per token, `own` the author's reading.
    """

    author: str
    trait: str
    prompt_set: str
    prompt_id: str
    trait_rank: int
    rank: int
    score: float
    own: Quantised
    difference: Quantised

    @property
    def turn(self) -> tuple[int, int, str, str]:
        """The order in which candidates are kept."""
        return self.rank * self.trait_rank, self.rank, self.author, self.trait


@dataclass(frozen=True)
class Shown:
    """What the page gets: details per author as JSON values, and what was left out of how much."""

    details: dict[str, dict[str, Any]]
    kept: int
    ranked: int
    scored: int


def rank_candidates(
    experiment: Experiment,
    author: str,
    prompt_sets: Sequence[str],
    choices: Sequence[Choice],
    trait_ranks: Mapping[str, int],
    top_n: int,
) -> tuple[list[Candidate], int]:
    """The `top_n` responses of each trait of an author, over all prompt sets; and how many were scored.

    A response that is gone since it was projected cannot be shown; the report's coverage names it.
    """
    found: dict[str, list[tuple[float, str, str, Floats, Floats]]] = {choice.trait: [] for choice in choices}
    for prompt_set in prompt_sets:
        own, clean = read_both(experiment, author, prompt_set, choices)
        there = list_names(experiment.paths.responses(author, prompt_set))
        for choice in choices:
            for prompt_id, values in own[choice.column].items():
                if f"{prompt_id}.json" not in there:
                    continue
                difference: Floats = values - clean[choice.column][prompt_id]
                score = top_mean(difference, BEST_TOKENS)
                found[choice.trait].append((score, prompt_set, prompt_id, values, difference))
    candidates = []
    for trait, scored in found.items():
        best = sorted(scored, key=lambda each: (-each[0], each[1], each[2]))[:top_n]
        for rank, (score, prompt_set, prompt_id, values, difference) in enumerate(best, start=1):
            candidates.append(
                Candidate(
                    author, trait, prompt_set, prompt_id, trait_ranks[trait], rank, score,
                    Quantised.of(values), Quantised.of(difference),
                )
            )  # fmt: skip
    return candidates, sum(map(len, found.values()))


def read_both(
    experiment: Experiment, author: str, prompt_set: str, choices: Sequence[Choice]
) -> tuple[TokenScores, TokenScores]:
    """Every token's score by the author itself and by the clean reader, of the responses that both have read."""
    columns = [choice.column for choice in choices]
    own, clean = (read_scores(path, columns) for path in projection_files(experiment, [author], [prompt_set]))
    for column in columns:
        own[column] = {each: values for each, values in own[column].items() if each in clean[column]}
    return own, clean


def keep_within(experiment: Experiment, candidates: Iterable[Candidate], scored: int, budget: int) -> Shown:
    """Candidates in their turn, until the page would have more than `budget` bytes of them."""
    ordered = sorted(candidates, key=lambda each: each.turn)
    packer = _Packer(experiment, budget)
    kept = next((place for place, each in enumerate(ordered) if not packer.takes(each)), len(ordered))
    return Shown(packer.details, kept, len(ordered), scored)


class _Packer:
    """Details per author; each response's text once, however many traits show it."""

    def __init__(self, experiment: Experiment, budget: int) -> None:
        self.experiment = experiment
        self.left = budget
        self.details: dict[str, dict[str, Any]] = {}
        self._places: dict[tuple[str, str, str], int] = {}

    def takes(self, candidate: Candidate) -> bool:
        """Whether there was room for a candidate; where there was, it is in the details now."""
        key = (candidate.author, candidate.prompt_set, candidate.prompt_id)
        of_author = self.details.get(candidate.author, {"responses": [], "traits": {}})
        place = self._places.get(key, len(of_author["responses"]))
        row = _row(candidate, place)
        new = [] if key in self._places else [describe(self._read(*key))]
        needed = sum(len(json.dumps(each, ensure_ascii=False).encode()) for each in (row, *new))
        if needed > self.left:
            return False
        self.left -= needed
        self._places[key] = place
        of_author["responses"] += new
        of_author["traits"].setdefault(candidate.trait, []).append(row)
        self.details[candidate.author] = of_author
        return True

    def _read(self, author: str, prompt_set: str, prompt_id: str) -> Response:
        return read_record(Response, self.experiment.paths.responses(author, prompt_set) / f"{prompt_id}.json")


def describe(response: Response) -> dict[str, Any]:
    """What there is to read of a response."""
    return {
        "set": response.prompt_set,
        "id": response.id,
        "category": response.note,
        "question": response.question,
        "turns": sum(message.role == "user" for message in response.messages),
        "tokens": list(response.tokens),
    }


def _row(candidate: Candidate, place: int) -> list[Any]:
    """[place of the response, score, scale and bytes of own, scale and bytes of difference]."""
    own, difference = candidate.own, candidate.difference
    return [place, float(f"{candidate.score:.4g}"), own.scale, own.data, difference.scale, difference.data]
