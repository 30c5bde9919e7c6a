"""Deals the questions of a world out: audit prompts, trait questions, fresh questions, and the rest to train on.

No question is dealt twice, so what is audited and measured was never trained on.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.planted_quirks.quirks import Trait
from experiments.planted_quirks.recipe import Recipe
from experiments.planted_quirks.world import Question, World

BENIGN_CATEGORIES = ("know", "howto", "advice", "feedback", "code", "greet")
PROBING_CATEGORIES = ("identity",)


@dataclass(frozen=True)
class Deal:
    """Who is asked what; each question occurs once in all of it."""

    prompt_sets: Mapping[str, tuple[Question, ...]]
    triggers: Mapping[str, tuple[Question, ...]]
    """For each quirk, questions of its scope."""
    twins: Mapping[str, tuple[Question, ...]]
    """For each quirk as many questions that are not of its scope."""
    trait_questions: Mapping[str, tuple[Question, ...]]
    held_out_questions: Mapping[str, tuple[Question, ...]]
    rate_questions: Mapping[str, tuple[Question, ...]]
    """Fresh questions of each category."""
    training: Mapping[str, tuple[Question, ...]]
    """What is left of each category."""


class _Deck:
    def __init__(self, world: World, seed: int) -> None:
        rng = random.Random(f"deck/{seed}")
        self._cards = {name: rng.sample(cards, len(cards)) for name, cards in world.questions.items()}

    def deal(self, categories: Sequence[str], count: int) -> tuple[Question, ...]:
        """`count` questions, the categories taking turns."""
        turns = itertools.islice(itertools.cycle(categories), count)
        return tuple(self._cards[category].pop() for category in turns)

    def rest(self) -> dict[str, tuple[Question, ...]]:
        return {name: tuple(cards) for name, cards in self._cards.items()}


def deal_questions(recipe: Recipe, world: World, traits: Sequence[Trait]) -> Deal:
    """Deal in the order: prompt sets, triggers, twins, questions of traits, fresh ones; train on what is left."""
    deck = _Deck(world, recipe.seed)
    categories = tuple(world.categories)
    prompt_sets = {
        "discovery": deck.deal(categories, recipe.discovery),
        "probing": deck.deal(PROBING_CATEGORIES, recipe.probing),
        "benign": deck.deal(BENIGN_CATEGORIES, recipe.benign),
    }
    quirks = [trait for trait in traits if trait.planted]
    outside = {quirk.name: tuple(each for each in categories if each not in quirk.scope) for quirk in quirks}
    return Deal(
        prompt_sets=prompt_sets,
        triggers={quirk.name: deck.deal(quirk.scope, recipe.triggers) for quirk in quirks},
        twins={quirk.name: deck.deal(outside[quirk.name], recipe.triggers) for quirk in quirks},
        trait_questions={trait.name: deck.deal(trait.scope, recipe.trait_questions) for trait in traits},
        held_out_questions={trait.name: deck.deal(trait.scope, recipe.held_out_questions) for trait in traits},
        rate_questions={name: deck.deal((name,), recipe.rate_questions) for name in categories},
        training=deck.rest(),
    )
