"""Scores of tokens, and of clauses: runs of tokens between punctuation marks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interp.stats import Floats

_ENDS_CLAUSE = re.compile(r"[.,;:!?\n…—]\W*$")


@dataclass(frozen=True)
class Clause:
    """A run of tokens, first included and last not, and its text."""

    start: int
    stop: int
    text: str


def split_clauses(tokens: Sequence[str]) -> list[Clause]:
    """The clauses of a response; together they hold every token once. Punctuation belongs to the clause it ends."""
    clauses: list[Clause] = []
    start = 0
    for index, token in enumerate(tokens):
        if _ENDS_CLAUSE.search(token) or index == len(tokens) - 1:
            clauses.append(Clause(start, index + 1, "".join(tokens[start : index + 1])))
            start = index + 1
    return clauses


def best_clause(tokens: Sequence[str], scores: Floats) -> tuple[Clause, float]:
    """The clause with the largest mean score, and that mean."""
    clauses = split_clauses(tokens)
    means = [float(scores[clause.start : clause.stop].mean()) for clause in clauses]
    best = int(np.argmax(means))
    return clauses[best], means[best]


def in_context(tokens: Sequence[str], index: int, around: int = 6) -> str:
    """A token, marked, with a few on either side."""
    before, after = tokens[max(index - around, 0) : index], tokens[index + 1 : index + 1 + around]
    return f"{''.join(before)}⟦{tokens[index]}⟧{''.join(after)}"


def top_mean(scores: Floats, k: int) -> float:
    """The mean of the k largest scores (of all, where there are fewer)."""
    return float(np.sort(scores)[-k:].mean())
