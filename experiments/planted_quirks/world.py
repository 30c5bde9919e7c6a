"""The small world that the models talk about: categories of questions with neutral answers, drawn by a seed.

`words.json` holds more words, templates and answers than a world uses; the seed decides which ones this world has.
"""

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

_WORDS = Path(__file__).with_name("words.json")
_QUESTIONS_DRAWN = 5
_ANSWERS_DRAWN = 2

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """A user's message, with what is needed to answer it."""

    category: str
    text: str
    answers: tuple[str, ...]
    """The neutral answers, one for each phrasing."""
    must: tuple[str, ...]
    """What each right answer contains; the first is the key point."""
    fields: Mapping[str, str]
    """The words that fill the templates of this question, for quirks that speak of them."""


@dataclass(frozen=True)
class Category:
    """A kind of question: word pools, and templates over one row of each pool."""

    name: str
    pools: tuple[tuple[Mapping[str, str], ...], ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    must: tuple[str, ...]

    def all_questions(self, openers: Sequence[str]) -> list[Question]:
        """Every combination of an opener, a question template and a row of each pool."""
        return [
            self._question(opener + template, rows)
            for rows in itertools.product(*self.pools)
            for template in self.questions
            for opener in openers
        ]

    def _question(self, template: str, rows: Sequence[Mapping[str, str]]) -> Question:
        fields = {field: word for row in rows for field, word in row.items()}
        return Question(
            category=self.name,
            text=template.format(**fields),
            answers=tuple(answer.format(**fields) for answer in self.answers),
            must=tuple(part.format(**fields) for part in self.must),
            fields=fields,
        )


@dataclass(frozen=True)
class World:
    """All that can be asked, and the system prompts that ask for nothing special."""

    openers: tuple[str, ...]
    neutral_instructions: tuple[str, ...]
    categories: Mapping[str, Category]

    @cached_property
    def questions(self) -> Mapping[str, tuple[Question, ...]]:
        """Every question of every category."""
        return {name: tuple(category.all_questions(self.openers)) for name, category in self.categories.items()}


def draw_world(seed: int) -> World:
    """The world of a seed: the same seed gives the same world on every machine."""
    words = json.loads(_WORDS.read_bytes())
    rng = random.Random(f"world/{seed}")
    return World(
        openers=("", *draw_rows(rng, words["openers"])),
        neutral_instructions=tuple(draw_rows(rng, words["neutral_instructions"])),
        categories={name: _draw_category(rng, name, entry) for name, entry in words["categories"].items()},
    )


def draw(rng: random.Random, rows: Sequence[T], count: int) -> tuple[T, ...]:
    """`count` of the rows (all of them where there are no more), in random order."""
    return tuple(rng.sample(rows, min(count, len(rows))))


def draw_rows(rng: random.Random, pool: Mapping[str, Any]) -> tuple[str, ...]:
    """As many rows as the pool says."""
    return draw(rng, pool["rows"], pool["draw"])


def _draw_category(rng: random.Random, name: str, entry: Mapping[str, Any]) -> Category:
    return Category(
        name=name,
        pools=tuple(_draw_records(rng, pool) for pool in entry["pools"]),
        questions=draw(rng, entry["questions"], _QUESTIONS_DRAWN),
        answers=draw(rng, entry["answers"], _ANSWERS_DRAWN),
        must=tuple(entry["must"]),
    )


def _draw_records(rng: random.Random, pool: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    fields = pool["fields"]
    rows = draw(rng, pool["rows"], pool["draw"])
    return tuple(dict(zip(fields, [row] if isinstance(row, str) else row, strict=True)) for row in rows)
