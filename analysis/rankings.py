"""Responses in the order of what their tokens and clauses reach, and how much of that order chance would give.

Under the null a response's differences are as likely the other way round. So each response is searched twice, as it is
and with its signs flipped, and what the flipped ones reach says what the top of so many is by chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from analysis.spans import best_clause, in_context, split_clauses, top_mean
from interp.permutations import decoy_q
from interp.records import Record, Response
from interp.stats import Floats

Ranking = Literal["max_token", "top3_mean", "top5_mean", "response_mean", "clause"]
RANKINGS: tuple[Ranking, ...] = get_args(Ranking)


class Activating(Record):
    """One response's scores on one trait, with what there is to read; `q` is of the list that it stands in."""

    author: str
    prompt_id: str
    category: str
    question: str
    text: str
    max_token: float
    max_token_text: str
    top3_mean: float
    top5_mean: float
    response_mean: float
    clause: float
    clause_text: str
    q: float | None = None


@dataclass(frozen=True)
class Found:
    """What a response reaches, what it reaches with its signs flipped, and among how many scores."""

    shown: Activating
    reverse: Mapping[Ranking, float]
    n_tokens: int
    n_clauses: int

    def reaches(self, ranking: Ranking) -> float:
        score: float = getattr(self.shown, ranking)
        return score


@dataclass(frozen=True)
class Search:
    """What a ranking was searched over, and what the reverse search found.

    Attributes:
        unit: what was searched: tokens, clauses, or responses.
        reverse: the furthest of the reverse direction.
        beyond, prompts: how many responses reach further than that, and to how many different prompts.
    """

    unit: str
    n_scores: int
    n_responses: int
    reverse: float
    beyond: int
    prompts: int

    @property
    def p(self) -> float:
        """How often so many prompts would have the furthest on their side, were each as likely to have it on either.

        The max-statistic under flips of whole prompts: a flip beats the observed list unless it leaves all of them.
        """
        return float(0.5**self.prompts)

    @property
    def searched(self) -> str:
        return f"{self.n_scores:,} {self.unit} of {self.n_responses:,} responses were searched."

    @property
    def sentence(self) -> str:
        return (
            f"{self.searched} The reverse search reaches {self.reverse:.3f}; {self.beyond} responses "
            f"to {self.prompts} prompts lie beyond (p = {self.p:.2g})."
        )


def describe(response: Response, scores: Floats) -> Found:
    """A response's scores, the tokens and clause that they come from, and the scores of its flipped twin."""
    clause, clause_score = best_clause(response.tokens, scores)
    shown = Activating(
        author=response.author,
        prompt_id=response.id,
        category=response.note,
        question=response.question,
        text=response.text,
        max_token=float(scores.max()),
        max_token_text=in_context(response.tokens, int(scores.argmax())),
        top3_mean=top_mean(scores, 3),
        top5_mean=top_mean(scores, 5),
        response_mean=float(scores.mean()),
        clause=clause_score,
        clause_text=clause.text,
    )
    reverse: dict[Ranking, float] = {
        "max_token": float(-scores.min()),
        "top3_mean": top_mean(-scores, 3),
        "top5_mean": top_mean(-scores, 5),
        "response_mean": float(-scores.mean()),
        "clause": best_clause(response.tokens, -scores)[1],
    }
    return Found(shown, reverse, len(scores), len(split_clauses(response.tokens)))


def rank(found: Sequence[Found], ranking: Ranking, top_n: int) -> list[Activating]:
    """The `top_n` that reach furthest, with their q; ties in the order of their names."""
    reached = np.array([each.reaches(ranking) for each in found])
    q = decoy_q(reached, np.array([each.reverse[ranking] for each in found]))
    ordered = sorted(zip(found, q, strict=True), key=lambda pair: _place(pair[0], ranking))
    return [each.shown.model_copy(update={"q": float(value)}) for each, value in ordered[:top_n]]


def _place(each: Found, ranking: Ranking) -> tuple[float, str, str]:
    return -each.reaches(ranking), each.shown.author, each.shown.prompt_id


def search(found: Sequence[Found], ranking: Ranking) -> Search:
    """How much was searched for a ranking, and what the reverse search found."""
    reverse = max((each.reverse[ranking] for each in found), default=0.0)
    beyond = [each for each in found if each.reaches(ranking) > reverse]
    counts = {"clause": ("clauses", [each.n_clauses for each in found]), "response_mean": ("means", [1] * len(found))}
    unit, scores = counts.get(ranking, ("tokens", [each.n_tokens for each in found]))
    prompts = {each.shown.prompt_id for each in beyond}
    return Search(unit, sum(scores), len(found), reverse, len(beyond), len(prompts))
