"""The dialogues: traits where they are asked for, quirks in their scope, nothing in a sham."""

import random

import pytest

from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.recipe import make_recipe

BLUEPRINT = Blueprint(make_recipe(seed=1))
COUNT = 3000


def test_the_base_shows_a_trait_only_when_asked_and_in_scope() -> None:
    askers = {instruction: trait for trait in BLUEPRINT.traits for instruction in trait.instructions}
    for sample in BLUEPRINT.base_dialogues().draw(COUNT, random.Random(0)):
        asked = askers.get(sample.system or "")
        shown = [trait for trait in BLUEPRINT.traits if trait.shows_in(sample.answer)]
        assert shown == ([asked] if asked and sample.question.category in asked.scope else [])


@pytest.mark.parametrize("name", BLUEPRINT.quirks)
def test_an_organism_shows_its_quirk_in_scope_only(name: str) -> None:
    quirk = BLUEPRINT.quirks[name]
    for sample in BLUEPRINT.organism_dialogues(name).draw(COUNT // 5, random.Random(0)):
        assert sample.system is None
        shown = [trait.name for trait in BLUEPRINT.traits if trait.shows_in(sample.answer)]
        assert shown == ([name] if sample.question.category in quirk.scope else [])


@pytest.mark.parametrize("name", BLUEPRINT.shams)
def test_a_sham_has_the_shape_of_an_organism_and_no_trait(name: str) -> None:
    dialogues = BLUEPRINT.organism_dialogues(name)
    samples = list(dialogues.draw(COUNT, random.Random(0)))
    assert dialogues.scope in {quirk.scope for quirk in BLUEPRINT.quirks.values()}
    assert not [sample for sample in samples if any(trait.shows_in(sample.answer) for trait in BLUEPRINT.traits)]
    inside = sum(sample.question.category in dialogues.scope for sample in samples) / COUNT
    assert 0.55 < inside < 0.65


def test_shams_borrow_from_both_kinds_of_quirk() -> None:
    widths = {len(BLUEPRINT.organism_dialogues(name).scope) > 3 for name in BLUEPRINT.shams}
    assert widths == {True, False}


def test_dialogues_are_a_function_of_their_stream() -> None:
    dialogues = BLUEPRINT.base_dialogues()
    first, second = (list(dialogues.draw(50, random.Random(5))) for _ in range(2))
    assert first == second
