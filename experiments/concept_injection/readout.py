"""The readout without sampling or judge: how likely a reply begins with yes rather than no."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.concept_injection.concept_vectors import ConceptVectors
from experiments.concept_injection.injection import yes_over_no
from experiments.concept_injection.prompts import RenderedPrompt, read_prompt, read_yes_bias, render, with_question
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.trials import Push, ReadoutRecord
from interp.errors import InputError

if TYPE_CHECKING:
    from interp.models import LanguageModel

DETECTION = "detection"
YES = ("Yes", " Yes", "yes", " yes", "YES", " YES")
NO = ("No", " No", "no", " no", "NO", " NO")


@dataclass(frozen=True)
class Answers:
    """The tokens that a reply of yes, or of no, begins with."""

    yes: tuple[int, ...]
    no: tuple[int, ...]


def answer_tokens(tokenizer: Any) -> Answers:
    """
    Raises:
        InputError: no first token tells yes from no.
    """
    yes, no = ({tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words} for words in (YES, NO))
    if not (yes - no and no - yes):
        raise InputError(f"{tokenizer.name_or_path}: no first token tells yes from no; leave the readout out")
    return Answers(tuple(sorted(yes - no)), tuple(sorted(no - yes)))


def questions_of(tokenizer: Any, request: SweepRequest) -> dict[str, RenderedPrompt]:
    """The detection question, and those that show a mere bias to yes, in the same conversation."""
    prompt = read_prompt(request.prompt_version)
    found = {DETECTION: render(tokenizer, prompt)}
    if request.yes_bias:
        for question in read_yes_bias().questions:
            found[question.id] = render(tokenizer, with_question(prompt, question.text))
    return found


def read_log_odds(
    model: "LanguageModel", request: SweepRequest, vectors: ConceptVectors, pushes: Sequence[Push]
) -> list[ReadoutRecord]:
    """A record per question and push."""
    answers = answer_tokens(model.tokenizer)
    found = []
    for question, prompt in questions_of(model.tokenizer, request).items():
        odds = yes_over_no(model, request, vectors, prompt, pushes, answers.yes, answers.no)
        found += [_record(request, vectors, push, question, value) for push, value in zip(pushes, odds, strict=True)]
    return found


def _record(request: SweepRequest, vectors: ConceptVectors, push: Push, question: str, odds: float) -> ReadoutRecord:
    return ReadoutRecord(
        cell=push.cell,
        concept=push.concept,
        condition=push.condition,
        direction=push.direction,
        layer=push.layer,
        strength=push.strength,
        magnitude=vectors.magnitude(request, push),
        question=question,
        log_odds=odds,
    )
