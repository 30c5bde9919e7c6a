"""Clauses and token scores."""

import random

import numpy as np
import pytest

from analysis.spans import best_clause, in_context, split_clauses, top_mean

PIECES = [
    "a", " word", "Don", "'t", ".", "...", "…", ",", ";", ":", "!?", "?!\n", "\n\n", "—", " – ", '."', ".)", "(",
    "3.14", "1,000", "", " ", "é", "好", "。", "🙂", "👩\u200d🚀", "\u0301", "ﬁ", "_", "._", "*", ".*", "\t",
    "\u2028", "\x00",
]  # fmt: skip


def test_a_clause_ends_with_its_punctuation() -> None:
    tokens = ["Well", ",", " it", " rains", ".", " Take", " a", " coat"]
    assert [clause.text for clause in split_clauses(tokens)] == ["Well,", " it rains.", " Take a coat"]
    assert [(clause.start, clause.stop) for clause in split_clauses(tokens)] == [(0, 2), (2, 5), (5, 8)]


@pytest.mark.parametrize("token", [".", ",", ";", ":", "!", "?", "\n", "…", "—", "...", "?!", '."', ".)", ".\n", "a,"])
def test_these_end_a_clause(token: str) -> None:
    assert [clause.stop for clause in split_clauses(["x", token, "y"])] == [2, 3]


@pytest.mark.parametrize("token", ["", " ", "-", "'", '"', "(", "3.14", "1,000", ".net", "_", "🙂", "é", "\u0301"])
def test_these_do_not(token: str) -> None:
    assert [clause.stop for clause in split_clauses(["x", token, "y"])] == [3]


def test_clauses_hold_every_token_once_whatever_the_tokens() -> None:
    draw = random.Random(0)
    for _ in range(300):
        tokens = [draw.choice(PIECES) for _ in range(draw.randrange(1, 30))]
        clauses = split_clauses(tokens)
        covered = [index for clause in clauses for index in range(clause.start, clause.stop)]
        assert covered == list(range(len(tokens)))
        assert all(clause.stop > clause.start for clause in clauses)
        assert "".join(clause.text for clause in clauses) == "".join(tokens)


def test_no_tokens_no_clauses() -> None:
    assert split_clauses([]) == []


def test_the_best_clause_has_the_largest_mean_not_the_largest_sum() -> None:
    tokens = ["a", " b", " c", ",", " d", ".", " e"]
    scores = np.array([3.0, 3.0, 3.0, 3.0, 4.0, 5.0, -1.0])
    clause, mean = best_clause(tokens, scores)
    assert (clause.text, mean) == (" d.", 4.5)


def test_the_best_clause_is_that_of_a_loop() -> None:
    draw = np.random.default_rng(1)
    for _ in range(50):
        tokens = [str(draw.choice(["x", ".", ","])) for _ in range(12)]
        scores = draw.normal(size=12)
        best, start = -np.inf, 0
        for index, token in enumerate(tokens):
            if token in ".," or index == 11:
                best, start = max(best, float(np.mean(scores[start : index + 1]))), index + 1
        assert best_clause(tokens, scores)[1] == pytest.approx(best)


def test_a_token_is_marked_among_its_neighbours() -> None:
    tokens = [f" {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert in_context(tokens, 10) == " e f g h i j⟦ k⟧ l m n o p q"
    assert in_context(tokens, 0, around=2) == "⟦ a⟧ b c"
    assert in_context(tokens, 1, around=2) == " a⟦ b⟧ c d"
    assert in_context(tokens, 25, around=2) == " x y⟦ z⟧"
    assert in_context(tokens, 1, around=0) == "⟦ b⟧"


def test_top_mean_is_the_mean_of_the_k_largest() -> None:
    draw = np.random.default_rng(2)
    for n in (1, 2, 3, 5, 20):
        scores = draw.normal(size=n)
        for k in (1, 3, 5):
            assert top_mean(scores, k) == pytest.approx(np.mean(sorted(scores.tolist(), reverse=True)[:k]))
