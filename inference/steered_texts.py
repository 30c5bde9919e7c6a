"""What is scored while a model is steered: text that shows a trait, text that lacks it, and neutral text."""

from collections.abc import Sequence
from typing import Any

from inference.contrasted_residuals import answer, chat_prompts, system_prompts
from inference.steered_scoring import Passage
from inference.steering_units import SteerOptions
from interp.config import Experiment
from interp.errors import InputError
from interp.models import LanguageModel
from interp.records import Trait, TraitSentence

ScoredText = tuple[dict[str, Any], Passage]
"""The columns that name a text (`text`, `item`, `n_tokens`), and the text."""


def texts_to_score(
    experiment: Experiment, trait: Trait, options: SteerOptions, model: LanguageModel
) -> list[ScoredText]:
    """The texts, each a reply to its prompt without any system prompt before it.

    Neutral: the model's own answers to the held-out questions under the twin of the eliciting system prompt. What shows
    and what lacks the trait: the trait's sentences; where it has none, the answers under either system prompt.
    """
    questions = trait.held_out_questions
    bare = chat_prompts(model, [None] * len(questions), questions)

    def own_answers(systems: Sequence[str]) -> list[Passage]:
        replies = answer(experiment, model, chat_prompts(model, systems, questions), options.scored_tokens)
        return [Passage(prompt, reply) for prompt, reply in zip(bare, replies, strict=True)]

    eliciting, twins = system_prompts(trait, questions)
    neutral = own_answers(twins)
    if trait.sentences:
        shows, lacks = _sentences(model, trait.sentences)
    else:
        shows, lacks = own_answers(eliciting), neutral
    return [
        ({"text": text, "item": item, "n_tokens": len(passage.reply)}, passage)
        for text, passages in (("shows", shows), ("lacks", lacks), ("neutral", neutral))
        for item, passage in enumerate(passages)
    ]


def _sentences(model: LanguageModel, sentences: Sequence[TraitSentence]) -> tuple[list[Passage], list[Passage]]:
    """Those that show the trait and those that lack it (InputError where one is empty)."""
    empty = [each.prompt for each in sentences if not (each.shows and each.lacks)]
    if empty:
        raise InputError(f"a sentence to {empty[0]!r} is empty: there is nothing to score")
    prompts = chat_prompts(model, [None] * len(sentences), [each.prompt for each in sentences])

    def said(replies: Sequence[str]) -> list[Passage]:
        encoded = [model.tokenizer(reply, add_special_tokens=False)["input_ids"] for reply in replies]
        return [Passage(prompt, tuple(ids)) for prompt, ids in zip(prompts, encoded, strict=True)]

    return said([each.shows for each in sentences]), said([each.lacks for each in sentences])
