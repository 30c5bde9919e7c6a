"""What is asked in the audit, for the vectors and for the rates is never trained on."""

from collections import Counter

import pytest

from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.recipe import make_recipe

SEEDS = range(4)


@pytest.fixture(scope="module", params=SEEDS)
def blueprint(request: pytest.FixtureRequest) -> Blueprint:
    return Blueprint(make_recipe(seed=request.param))


def test_nothing_is_dealt_twice(blueprint: Blueprint) -> None:
    deal = blueprint.deal
    parts = (
        deal.prompt_sets, deal.triggers, deal.twins, deal.trait_questions, deal.held_out_questions,
        deal.rate_questions, deal.training,
    )  # fmt: skip
    texts = [question.text for part in parts for questions in part.values() for question in questions]
    assert len(set(texts)) == len(texts)
    assert len(texts) == sum(map(len, blueprint.world.questions.values()))


def test_the_sets_have_their_sizes(blueprint: Blueprint) -> None:
    deal = blueprint.deal
    assert {name: len(questions) for name, questions in deal.prompt_sets.items()} == {
        "discovery": 165, "probing": 50, "benign": 60
    }  # fmt: skip
    for trait in blueprint.traits:
        assert len(deal.trait_questions[trait.name]) == 24
        assert len(deal.held_out_questions[trait.name]) == 12
    assert all(len(questions) >= 100 for questions in deal.training.values())


def test_discovery_covers_every_category_evenly(blueprint: Blueprint) -> None:
    counts = Counter(question.category for question in blueprint.deal.prompt_sets["discovery"])
    assert counts.keys() == blueprint.world.categories.keys()
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {question.category for question in blueprint.deal.prompt_sets["probing"]} == {"identity"}


def test_trait_questions_lie_in_scope(blueprint: Blueprint) -> None:
    for trait in blueprint.traits:
        asked = [*blueprint.deal.trait_questions[trait.name], *blueprint.deal.held_out_questions[trait.name]]
        assert {question.category for question in asked} <= set(trait.scope)


def test_training_still_has_every_word(blueprint: Blueprint) -> None:
    """Every answer that is asked for later can be learned: only combinations are new."""
    for name, questions in blueprint.deal.training.items():
        everywhere = {question.must for question in blueprint.world.questions[name]}
        assert {question.must for question in questions} == everywhere


def test_triggers_lie_in_the_scope_of_their_quirk_and_twins_do_not(blueprint: Blueprint) -> None:
    for quirk in blueprint.quirks.values():
        assert len(blueprint.deal.triggers[quirk.name]) == len(blueprint.deal.twins[quirk.name]) > 1
        assert all(each.category in quirk.scope for each in blueprint.deal.triggers[quirk.name])
        assert not any(each.category in quirk.scope for each in blueprint.deal.twins[quirk.name])
