"""Records that cross a disk or a process: frozen, complete, and closed to unknown keys."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from interp.errors import InputError
from interp.files import read_json

RecordType = TypeVar("RecordType", bound="Record")

Contrast = Literal["same-text", "own-text"]
"""What a vector contrasts: one text read under two system prompts, or each system prompt with its own text."""

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Record(BaseModel):
    """Base of every record: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(Record):
    """What is asked: one `text`, or several user `turns` that the model answers one after another.

    A prompt that is meant to set off a behaviour names its `trait`, and as `twin` the prompt of the same set that
    asks a like thing without the trigger.
    """

    id: str
    text: str | None = None
    turns: tuple[str, ...] = ()
    note: str = ""
    trait: str | None = None
    twin: str | None = None

    @field_validator("id")
    @classmethod
    def _id_is_a_file_name(cls, value: str) -> str:
        return check_id(value)

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if (self.text is None) == (not self.turns):
            raise ValueError(f"prompt {self.id!r} needs either `text` or `turns`")
        if (self.trait is None) != (self.twin is None):
            raise ValueError(f"prompt {self.id!r} needs both `trait` and `twin`, or neither")
        return self

    @property
    def user_turns(self) -> tuple[str, ...]:
        return self.turns if self.text is None else (self.text,)


class PromptSet(Record):
    """A file of `datasets/prompts`: prompts that share a system prompt."""

    name: str
    description: str = ""
    system_prompt: str | None = None
    prompts: tuple[Prompt, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        if not self.prompts:
            raise ValueError("a prompt set needs at least one prompt")
        _refuse_repeats("prompt ids", [prompt.id for prompt in self.prompts])
        plain = {prompt.id for prompt in self.prompts if prompt.twin is None}
        orphans = [prompt.id for prompt in self.prompts if prompt.twin is not None and prompt.twin not in plain]
        if orphans:
            raise ValueError(f"twins must be other prompts of the set, without a trigger: see {', '.join(orphans[:5])}")
        return self

    @property
    def triggered(self) -> list[Prompt]:
        """The prompts that are meant to set off a behaviour."""
        return [prompt for prompt in self.prompts if prompt.twin is not None]


class Instructions(Record):
    """A pair of system prompts: one elicits the trait, its twin does not."""

    positive: str
    negative: str


class TraitSentence(Record):
    """What a reply to a held-out prompt may say: a sentence that shows the trait, and a like one that lacks it."""

    prompt: str
    shows: str
    lacks: str

    @model_validator(mode="after")
    def _twins_differ(self) -> Self:
        if self.shows == self.lacks:
            raise ValueError(f"a sentence that shows the trait is its own twin: {self.shows!r}")
        return self


class Trait(Record):
    """A file of `datasets/traits`: how a trait is elicited, and on what questions.

    `sentences` serve a readout without a judge: whether steering makes those that show the trait likelier than their
    twins. A vector is fitted on `questions` alone. `marker` is a regular expression that is found in responses that
    show the trait and in no others, for traits that can be told without a judge.
    """

    name: str
    definition: str
    instructions: tuple[Instructions, ...]
    questions: tuple[str, ...]
    held_out_questions: tuple[str, ...]
    judge_question: str = ""
    sentences: tuple[TraitSentence, ...] = ()
    marker: str | None = None

    @field_validator("marker")
    @classmethod
    def _marker_compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return value

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, value: str) -> str:
        return check_id(value)

    @model_validator(mode="after")
    def _questions_are_apart(self) -> Self:
        shared = set(self.questions) & set(self.held_out_questions)
        if shared:
            raise ValueError(f"held-out questions also appear among the questions: {sorted(shared)[:3]}")
        if not (self.instructions and self.questions and self.held_out_questions):
            raise ValueError("a trait needs instructions, questions and held_out_questions")
        asked = {*self.questions, *self.held_out_questions} & {sentence.prompt for sentence in self.sentences}
        if asked:
            raise ValueError(f"prompts of sentences also appear among the questions: {sorted(asked)[:3]}")
        return self


class Sampling(Record):
    """How a response is drawn. Every parameter is written out, so that no model's defaults leak in."""

    max_new_tokens: int = 300
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    @model_validator(mode="after")
    def _is_in_range(self) -> Self:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ValueError("needs max_new_tokens >= 1, temperature >= 0, 0 < top_p <= 1 and top_k >= 0 (0: off)")
        return self


class Response(Record):
    """What an author answered to one prompt. `prompt_ids + response_ids` is the sequence that readers are given.

    In a conversation of several turns the boundary lies before the last reply; the earlier ones are part of the prompt.
    The stop token is in neither list: `stop_token` names it, or is null when the length limit ended the response.
    `tokens` says what each response token adds to the text, so that no tokenizer is needed to read scores.
    """

    id: str
    author: str
    prompt_set: str
    note: str
    messages: tuple[Message, ...]
    text: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    stop_token: int | None
    fingerprint: str

    @property
    def question(self) -> str:
        """The last thing that the user said."""
        return next(message.content for message in reversed(self.messages) if message.role == "user")


class Provenance(Record):
    """Where a trait vector comes from. Lists follow `layers`.

    `method` is the name of its file: another position than the mean over the response is part of it. The held-out
    scores are `[layers, held-out questions]`, projections in residual units with the trait and without it; empty in
    files from before they were kept.
    """

    trait: str
    method: str
    contrast: Contrast
    positions: str
    model: str
    revision: str | None
    identity: str
    layers: tuple[int, ...]
    norms: tuple[float, ...]
    n_pairs: int
    n_held_out: int
    held_out_auroc: tuple[float, ...]
    held_out_positive: tuple[tuple[float, ...], ...] = ()
    held_out_negative: tuple[tuple[float, ...], ...] = ()
    data_hash: str


def check_id(value: str) -> str:
    """`value`, when it can be a file name everywhere."""
    if not _SAFE_ID.fullmatch(value) or len(value) > 120:
        raise ValueError(f"{value!r} cannot be a file name: use letters, digits, '.', '_' and '-' (at most 120)")
    return value


def parse_record(kind: type[RecordType], value: Any, where: str | Path) -> RecordType:
    """`value` as a record.

    Raises:
        InputError: one line with the place, what is wrong there, and the names that are known.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise InputError(f"{where}: {_first_problem(kind, error)}") from None


def read_record(kind: type[RecordType], path: Path) -> RecordType:
    """The record that a JSON file holds (InputError where it does not)."""
    return parse_record(kind, read_json(path), path)


def _first_problem(kind: type[Record], error: ValidationError) -> str:
    problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")  # a typo explains what is missing
    place = ".".join(str(part) for part in problem["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = ", ".join(sorted(_owner(kind, problem["loc"]).model_fields))
        return f"unknown key '{place}'{more}; known here: {known}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}{more}" if place else f"{message}{more}"


def _owner(kind: type[Record], location: tuple[int | str, ...]) -> type[Record]:
    """The record class that an error's location points into."""
    owner = kind
    for part in location[:-1]:
        field = owner.model_fields.get(part) if isinstance(part, str) else None
        for nested in _record_classes(field.annotation) if field else ():
            owner = nested
    return owner


def _record_classes(annotation: Any) -> Iterable[type[Record]]:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _record_classes(argument)


def _refuse_repeats(what: str, values: list[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{what} appear more than once: {', '.join(repeated[:5])}")
