"""Introspection prompts and word lists: data of `datasets/`, read and rendered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from interp.chat import prompt_ids
from interp.chat import render as rendered
from interp.errors import InputError
from interp.files import read_json
from interp.paths import DATASETS
from interp.records import Message, Record, read_record

SPAN = "⟦here⟧"
"""Marks in a message from where on the style `span` injects; it is taken out before the model sees the text."""

FOLDER = DATASETS / "introspection_prompts"
YES_BIAS = "yes_bias"


class IntrospectionPrompt(Record):
    """A file of `datasets/introspection_prompts`: what is asked; its last message is the user's."""

    name: str
    description: str
    messages: tuple[Message, ...]

    @model_validator(mode="after")
    def _ends_with_the_user(self) -> "IntrospectionPrompt":
        if not self.messages or self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's")
        if sum(message.content.count(SPAN) for message in self.messages) != 1:
            raise ValueError(f"one place must be marked with {SPAN}: from there on the style `span` injects")
        return self

    @property
    def question(self) -> str:
        """What the reply answers."""
        return self.messages[-1].content.replace(SPAN, "")


class YesBiasQuestion(Record):
    """A question whose right answer is no, whatever the model feels."""

    id: str
    text: str


class YesBiasQuestions(Record):
    """`datasets/introspection_prompts/yes_bias.json`."""

    name: str
    description: str
    questions: tuple[YesBiasQuestion, ...]


@dataclass(frozen=True)
class RenderedPrompt:
    """Token ids up to where the reply begins, and the first token of the marked span."""

    ids: tuple[int, ...]
    span_start: int


def prompt_versions() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != YES_BIAS)


def read_prompt(version: str) -> IntrospectionPrompt:
    """
    Raises:
        InputError: there is no such version; names those that there are.
    """
    if version not in prompt_versions():
        raise InputError(f"unknown prompt version {version!r}; there are: {', '.join(prompt_versions())}")
    return read_record(IntrospectionPrompt, FOLDER / f"{version}.json")


def read_yes_bias() -> YesBiasQuestions:
    return read_record(YesBiasQuestions, FOLDER / f"{YES_BIAS}.json")


def with_question(prompt: IntrospectionPrompt, question: str) -> IntrospectionPrompt:
    """The same conversation with another last question; what is marked in the last message is all of it then."""
    *before, last = prompt.messages
    content = SPAN + question if SPAN in last.content else question
    return prompt.model_copy(update={"messages": (*before, Message(role="user", content=content))})


def render(tokenizer: Any, prompt: IntrospectionPrompt) -> RenderedPrompt:
    """The prompt's ids, and where the marked span starts in them: the first token that ends after the mark."""
    plain = [message.model_copy(update={"content": message.content.replace(SPAN, "")}) for message in prompt.messages]
    ids = tuple(prompt_ids(tokenizer, plain))
    before = rendered(tokenizer, prompt.messages).index(SPAN)
    text = rendered(tokenizer, plain)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    if tuple(encoded["input_ids"]) != ids:
        raise InputError(f"{tokenizer.name_or_path} reads one text in two ways: its tokens cannot be told from places")
    starts = [index for index, (_, end) in enumerate(encoded["offset_mapping"]) if end > before]
    return RenderedPrompt(ids, starts[0])


def read_words(name: str) -> tuple[str, ...]:
    """A word list of `datasets/words`.

    Raises:
        InputError: there is no such list, or it has fewer than 50 different words.
    """
    path = DATASETS / "words" / f"{name}.json"
    known = sorted(each.stem for each in path.parent.glob("*.json") if "words" in read_json(each))
    if name not in known:
        raise InputError(f"no word list {name!r}; there are: {', '.join(known)}")
    words = tuple(dict.fromkeys(read_json(path)["words"]))
    if len(words) < 50:
        raise InputError(f"{path} has {len(words)} different words; a baseline needs 50")
    return words


def check_baseline(words: Sequence[str], concepts: Sequence[str], name: str) -> None:
    """
    Raises:
        InputError: a concept is among the words that its vector is set against.
    """
    shared = sorted({word.lower() for word in words} & {concept.lower() for concept in concepts})
    if shared:
        raise InputError(f"{', '.join(shared)}: both a concept and a word of the baseline {name!r}; take another list")
