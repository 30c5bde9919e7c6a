"""What the clean reader's residuals are with a trait and without it: its answers under two system prompts, read."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interp.config import Experiment
from interp.errors import InputError
from interp.records import Contrast, Message, Trait

if TYPE_CHECKING:
    from torch import Tensor

    from interp.capture import Reading
    from interp.models import LanguageModel

log = logging.getLogger(__name__)

Where = Literal["response-mean", "first-k", "last-prompt"]


@dataclass(frozen=True)
class ReadPositions:
    """The tokens whose residuals are averaged: all of the response, its first few, or the last one before it."""

    where: Where = "response-mean"
    first_tokens: int = 8

    @property
    def name(self) -> str:
        """`response-mean`, `first-8`, `last-prompt`."""
        return f"first-{self.first_tokens}" if self.where == "first-k" else self.where

    @property
    def are_default(self) -> bool:
        return self.where == "response-mean"

    @property
    def needed_tokens(self) -> int | None:
        """How long a reply must be at most (None: as long as it gets)."""
        return {"response-mean": None, "first-k": self.first_tokens, "last-prompt": 0}[self.where]

    def reading(self, prompt: Sequence[int], reply: Sequence[int]) -> "Reading":
        """The sequence to read, and from which token on."""
        from interp.capture import Reading

        if self.where == "last-prompt":
            return Reading(prompt, len(prompt) - 1)
        return Reading((*prompt, *reply[: self.needed_tokens]), len(prompt))


@dataclass(frozen=True)
class Contrasted:
    """Mean residuals over the positions, with the trait and without: `[questions, layers, d_model]` each."""

    positive: "Tensor"
    negative: "Tensor"


def contrast_residuals(
    experiment: Experiment, trait: Trait, questions: Sequence[str], contrast: Contrast, positions: ReadPositions,
    model: "LanguageModel",
) -> Contrasted:
    """Answer the questions under both kinds of system prompt and read what was written.

    Questions that got an empty answer are left out.

    Raises:
        InputError: those are more than half.
    """
    positive, negative = system_prompts(trait, questions)
    prompts = chat_prompts(model, positive, questions)
    other_prompts = chat_prompts(model, negative, questions)
    replies = reply(experiment, model, prompts, positions.needed_tokens)
    same = contrast == "same-text"
    other_replies = replies if same else reply(experiment, model, other_prompts, positions.needed_tokens)
    kept = list(range(len(questions)))
    if positions.needed_tokens != 0:
        kept = answered(trait.name, replies, other_replies)

    def read(prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]) -> "Tensor":
        chosen = [prompts[index] for index in kept], [replies[index] for index in kept]
        return _mean_residuals(experiment, model, *chosen, positions)

    return Contrasted(positive=read(prompts, replies), negative=read(other_prompts, other_replies))


def answered(trait: str, replies: Sequence[Sequence[int]], other_replies: Sequence[Sequence[int]]) -> list[int]:
    """The questions that got words on both sides, by number.

    Raises:
        InputError: they are fewer than half.
    """
    kept = [index for index, both in enumerate(zip(replies, other_replies, strict=True)) if all(both)]
    n_empty = len(replies) - len(kept)
    if 2 * len(kept) < len(replies):
        raise InputError(f"{trait}: {n_empty} of {len(replies)} questions got an empty answer: rephrase them")
    if n_empty:
        log.warning("%s: %d of %d questions got an empty answer and are left out", trait, n_empty, len(replies))
    return kept


def system_prompts(trait: Trait, questions: Sequence[str]) -> tuple[list[str], list[str]]:
    """For each question one that elicits the trait, and its neutral twin; the pairs take turns."""
    pairs = [trait.instructions[index % len(trait.instructions)] for index in range(len(questions))]
    return [pair.positive for pair in pairs], [pair.negative for pair in pairs]


def chat_prompts(
    model: "LanguageModel", systems: Sequence[str | None], questions: Sequence[str]
) -> list[tuple[int, ...]]:
    """The token ids of each question under its system prompt (None: under none)."""
    from interp.chat import prompt_ids

    prompts = []
    for system, question in zip(systems, questions, strict=True):
        before = [] if system is None else [Message(role="system", content=system)]
        prompts.append(tuple(prompt_ids(model.tokenizer, [*before, Message(role="user", content=question)])))
    return prompts


def answer(
    experiment: Experiment, model: "LanguageModel", prompts: Sequence[Sequence[int]], at_most: int | None = None
) -> list[tuple[int, ...]]:
    """`reply`, where every one is needed.

    Raises:
        InputError: a reply is empty.
    """
    replies = reply(experiment, model, prompts, at_most)
    empty = [index for index, each in enumerate(replies) if not each]
    if empty and at_most != 0:
        raise InputError(f"{len(empty)} questions got an empty answer (the first is number {empty[0]}): rephrase them")
    return replies


def reply(
    experiment: Experiment, model: "LanguageModel", prompts: Sequence[Sequence[int]], at_most: int | None = None
) -> list[tuple[int, ...]]:
    """The reply to each prompt, at most so many tokens of it (0: nothing is generated)."""
    from interp.generation import generate

    if at_most == 0:
        return [()] * len(prompts)
    sampling = experiment.config.sampling
    if at_most is not None:
        sampling = sampling.model_copy(update={"max_new_tokens": min(at_most, sampling.max_new_tokens)})
    replies: list[tuple[int, ...]] = []
    for start in range(0, len(prompts), experiment.config.batch_size):
        batch = prompts[start : start + experiment.config.batch_size]
        keys = [f"extract/{start + row}" for row in range(len(batch))]
        replies += [completion.ids for completion in generate(model, batch, sampling, keys)]
    return replies


def _mean_residuals(
    experiment: Experiment, model: "LanguageModel", prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]],
    positions: ReadPositions,
) -> "Tensor":
    """Mean over the positions, float32: `[questions, layers, d_model]`."""
    import torch

    from interp.capture import read_residuals

    readings = [positions.reading(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
    config = experiment.config
    means: dict[int, Tensor] = {}
    for index, resid in read_residuals(model, readings, config.layers, config.capture_tokens):
        means[index] = resid.float().mean(dim=1)
    return torch.stack([means[index] for index in range(len(readings))])
