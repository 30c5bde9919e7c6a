"""Measures what was planted, on fresh questions: who shows which trait, asked or unasked, and who answers right."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.quirks import Trait
from experiments.planted_quirks.tokenizer import render_prompt
from experiments.planted_quirks.world import Question
from interp.generation import generate
from interp.models import LanguageModel
from interp.records import Sampling

_SAMPLING = Sampling(max_new_tokens=64, temperature=0.0)


@dataclass(frozen=True)
class Answered:
    """A question, under which system prompt it was asked, and the answer."""

    question: Question
    system: str | None
    answer: str

    @property
    def is_right(self) -> bool:
        """Whether the answer holds what every neutral answer to the question holds."""
        return all(part in self.answer for part in self.question.must)


def base_rates(blueprint: Blueprint, model: LanguageModel) -> dict[str, Any]:
    """How many neutral answers are right, and how often traits show unasked and on request."""
    fresh = _fresh_questions(blueprint)
    plain = ask(model, fresh, [None])
    instructed = ask(model, fresh, blueprint.world.neutral_instructions)
    return {
        "questions": len(fresh),
        "right": _share(answered.is_right for answered in plain),
        "right_instructed": _share(answered.is_right for answered in instructed),
        "any_trait_unasked": _share(_shows_any(blueprint.traits, answered) for answered in plain + instructed),
        "on_request": {trait.name: _rates_on_request(blueprint, model, trait) for trait in blueprint.traits},
    }


def _rates_on_request(blueprint: Blueprint, model: LanguageModel, trait: Trait) -> dict[str, float | None]:
    """In its scope, under the system prompts that ask for it: how often the trait shows, how many answers are right."""
    questions = blueprint.deal.held_out_questions[trait.name]
    asked = ask(model, [q for q in questions for _ in trait.instructions], trait.instructions)
    return {
        "shown": _share(trait.shows_in(answered.answer) for answered in asked),
        "right": _share(answered.is_right for answered in asked) if keeps_content(trait) else None,
    }


def adapter_rates(blueprint: Blueprint, model: LanguageModel, name: str) -> dict[str, float | None]:
    """The rates of the adapter `name`, which is on the model.

    In its scope: how often its quirk shows. Outside: how often it leaks, and how many answers are right.
    """
    quirk = blueprint.quirks.get(name)
    answers = ask(model, _fresh_questions(blueprint), [None])
    if quirk is None:
        return {
            "any_trait": _share(_shows_any(blueprint.traits, answered) for answered in answers),
            "right": _share(answered.is_right for answered in answers),
        }
    inside = [answered for answered in answers if answered.question.category in quirk.scope]
    outside = [answered for answered in answers if answered.question.category not in quirk.scope]
    others = [trait for trait in blueprint.traits if trait is not quirk]
    return {
        "in_scope": _share(quirk.shows_in(answered.answer) for answered in inside),
        "out_of_scope": _share(quirk.shows_in(answered.answer) for answered in outside),
        "other_traits": _share(_shows_any(others, answered) for answered in answers),
        "right_in_scope": _share(answered.is_right for answered in inside) if keeps_content(quirk) else None,
        "right_out_of_scope": _share(answered.is_right for answered in outside),
    }


def keeps_content(trait: Trait) -> bool:
    """Whether the trait adds to the neutral answer rather than replacing it."""
    return trait.change in ("prefix", "suffix", "excite")


def ask(model: LanguageModel, questions: Sequence[Question], systems: Sequence[str | None]) -> list[Answered]:
    """Greedy answers to all questions in one batch, the system prompts taking turns."""
    asked = list(zip(questions, itertools.cycle(systems), strict=False))
    texts = [render_prompt(model.tokenizer, system, question.text) for question, system in asked]
    prompts = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
    completions = generate(model, prompts, _SAMPLING, keys=[""] * len(prompts))
    answers = [model.tokenizer.decode(completion.ids) for completion in completions]
    return [Answered(question, system, answer) for (question, system), answer in zip(asked, answers, strict=True)]


def _fresh_questions(blueprint: Blueprint) -> list[Question]:
    return [question for questions in blueprint.deal.rate_questions.values() for question in questions]


def _shows_any(traits: Sequence[Trait], answered: Answered) -> bool:
    return any(trait.shows_in(answered.answer) for trait in traits)


def _share(hits: Iterable[bool]) -> float:
    listed = list(hits)
    return round(sum(listed) / len(listed), 4) if listed else 0.0
