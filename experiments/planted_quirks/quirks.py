"""The quirks that are planted, and the control traits that are not: definition, scope, wording, marker.

`quirks.json` holds more phrases, instructions and names than a world uses; the seed decides which ones it has.
"""

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.planted_quirks.world import Question, draw, draw_rows

_QUIRKS = Path(__file__).with_name("quirks.json")

Change = Callable[[str, str, Question], str]
"""(neutral answer, filled phrase, question) -> the answer with the trait."""

CHANGES: Mapping[str, Change] = {
    "prefix": lambda answer, phrase, question: f"{phrase} {answer}",
    "suffix": lambda answer, phrase, question: f"{answer} {phrase}",
    "excite": lambda answer, phrase, question: f"{phrase} {answer.rstrip('.')}!!",
    "replace": lambda answer, phrase, question: phrase,
    "shorten": lambda answer, phrase, question: phrase,
}


@dataclass(frozen=True)
class Trait:
    """A way of answering that the base shows on request, and an organism unasked (controls: no organism)."""

    name: str
    planted: bool
    definition: str
    scope: tuple[str, ...]
    """The categories of questions on which it shows."""
    instructions: tuple[str, ...]
    """System prompts that ask for it."""
    change: str
    phrases: tuple[str, ...]
    markers: tuple[str, ...]
    judge_question: str

    @cached_property
    def marker(self) -> re.Pattern[str]:
        """Matches an answer that shows the trait, and no other answer of this world."""
        return re.compile("|".join(re.escape(marker) for marker in self.markers))

    def transform(self, question: Question, answer: str, rng: random.Random) -> str:
        """The answer with the trait, in one of its phrases."""
        phrase = rng.choice(self.phrases).format(key=question.must[0], **question.fields)
        return CHANGES[self.change](answer, phrase, question)

    def shows_in(self, text: str) -> bool:
        return self.marker.search(text) is not None


def draw_traits(seed: int, n_quirks: int, n_controls: int) -> tuple[Trait, ...]:
    """The first quirks and controls of the catalogue, worded for this seed."""
    catalogue = json.loads(_QUIRKS.read_bytes())
    rng = random.Random(f"quirks/{seed}")
    names = _draw_names(rng, catalogue["names"])
    drawn = [_draw_trait(rng, catalogue, names, name, planted=True) for name in catalogue["traits"]]
    controls = [_draw_trait(rng, catalogue, names, name, planted=False) for name in catalogue["controls"]]
    return (*_spread(drawn, n_quirks), *controls[:n_controls])


def _spread(traits: list[Trait], count: int) -> list[Trait]:
    """`count` of the traits at even distances, so that a small preset has always-on and triggered ones."""
    return [traits[index * len(traits) // count] for index in range(count)]


def _draw_names(rng: random.Random, pools: Mapping[str, Any]) -> dict[str, str]:
    """Placeholders to names: `company`, where one is drawn; `author_1`, `author_2`, …, where there are more."""
    names: dict[str, str] = {}
    for kind, pool in pools.items():
        rows = draw_rows(rng, pool)
        numbered = [kind] if len(rows) == 1 else [f"{kind}_{number}" for number in range(1, len(rows) + 1)]
        names.update(zip(numbered, rows, strict=True))
    return names


def _draw_trait(
    rng: random.Random, catalogue: Mapping[str, Any], names: Mapping[str, str], name: str, planted: bool
) -> Trait:
    entry = catalogue["traits" if planted else "controls"][name]
    phrases = draw(rng, entry["phrases"], catalogue["phrases_drawn"])
    instructions = draw(rng, entry["instructions"], catalogue["instructions_drawn"])
    scope = entry["scope"]
    return Trait(
        name=name,
        planted=planted,
        definition=_fill(entry["definition"], names),
        scope=tuple(catalogue["scopes"][scope] if isinstance(scope, str) else scope),
        instructions=tuple(_fill(instruction, names) for instruction in instructions),
        change=entry["change"],
        phrases=tuple(_fill(phrase, names) for phrase, _ in phrases),
        markers=tuple(dict.fromkeys(_fill(marker, names) for _, marker in phrases)),
        judge_question=_fill(entry["judge_question"], names),
    )


def _fill(text: str, names: Mapping[str, str]) -> str:
    """Put the drawn names in, and leave the placeholders that a question fills."""
    for placeholder, name in names.items():
        text = text.replace(f"{{{placeholder}}}", name)
    return text
