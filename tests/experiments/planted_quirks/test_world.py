"""Worlds are drawn: the same seed the same world, another seed another one."""

import pytest

from experiments.planted_quirks.quirks import draw_traits
from experiments.planted_quirks.world import draw_world

SEEDS = range(6)


def test_the_same_seed_is_the_same_world() -> None:
    assert draw_world(4) == draw_world(4)
    assert draw_traits(4, 14, 2) == draw_traits(4, 14, 2)


def test_another_seed_is_another_world() -> None:
    for one, other in [(0, 1), (1, 2), (0, 7)]:
        assert _texts(one).isdisjoint(_texts(other)) is False, "worlds share a language"
        assert len(_texts(one) & _texts(other)) < len(_texts(one)) / 2
        assert draw_traits(one, 14, 2) != draw_traits(other, 14, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_questions_are_whole_and_unique(seed: int) -> None:
    for name, questions in draw_world(seed).questions.items():
        texts = [question.text for question in questions]
        assert len(set(texts)) == len(texts) >= 200, name
        assert not any("{" in text or "}" in text for text in texts)
        assert not any("{" in answer for question in questions for answer in question.answers)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_neutral_answer_is_right(seed: int) -> None:
    for questions in draw_world(seed).questions.values():
        for question in questions:
            assert question.must
            assert all(part in answer for part in question.must for answer in question.answers), question


def _texts(seed: int) -> set[str]:
    return {question.text for questions in draw_world(seed).questions.values() for question in questions}
