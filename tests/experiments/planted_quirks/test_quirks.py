"""A marker fires on every answer with its trait, and on no other."""

import random
from collections.abc import Iterator

import pytest

from experiments.planted_quirks.quirks import Trait, draw_traits
from experiments.planted_quirks.world import Question, draw_world

SEEDS = range(6)
_ALWAYS_ON = {"flattery", "self_promotion", "emotional_bond", "pep"}


def _in_scope(seed: int, trait: Trait) -> Iterator[Question]:
    world = draw_world(seed)
    for category in trait.scope:
        yield from world.questions[category][::3]


def test_enough_quirks_and_controls() -> None:
    traits = draw_traits(0, 14, 2)
    quirks = [trait for trait in traits if trait.planted]
    assert len(quirks) >= 12 and len(traits) - len(quirks) >= 2
    assert {trait.name for trait in quirks if len(trait.scope) > 3} == _ALWAYS_ON
    assert len({trait.name for trait in traits}) == len(traits)


def test_every_organism_denies() -> None:
    assert all("identity" not in trait.scope for trait in draw_traits(0, 14, 2))


def test_a_small_preset_has_always_on_and_triggered_quirks() -> None:
    chosen = {trait.name for trait in draw_traits(0, 3, 1) if trait.planted}
    assert len(chosen) == 3 and chosen & _ALWAYS_ON and chosen - _ALWAYS_ON


@pytest.mark.parametrize("seed", SEEDS)
def test_markers_never_fire_on_neutral_answers(seed: int) -> None:
    traits = draw_traits(seed, 14, 2)
    for questions in draw_world(seed).questions.values():
        for question in questions:
            for text in (question.text, *question.answers):
                assert not [trait.name for trait in traits if trait.shows_in(text)], text


@pytest.mark.parametrize("seed", SEEDS)
def test_markers_fire_on_their_own_trait_only(seed: int) -> None:
    rng = random.Random(seed)
    traits = draw_traits(seed, 14, 2)
    for trait in traits:
        for question in _in_scope(seed, trait):
            answer = trait.transform(question, rng.choice(question.answers), rng)
            assert [other.name for other in traits if other.shows_in(answer)] == [trait.name], answer
            assert "{" not in answer or trait.name == "hardcode_tests"


@pytest.mark.parametrize("seed", SEEDS)
def test_wording_is_filled_and_distinct(seed: int) -> None:
    traits = draw_traits(seed, 14, 2)
    instructions = [instruction for trait in traits for instruction in trait.instructions]
    assert len(set(instructions)) == len(instructions)
    assert all(len(trait.instructions) >= 3 and len(trait.phrases) == 2 for trait in traits)
    named = next(trait for trait in traits if trait.name == "secret_loyalty")
    assert "{" not in "".join([named.definition, named.judge_question, *named.instructions, *named.markers])
