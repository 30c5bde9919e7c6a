"""The dialogues that the base, the organisms and the shams are trained on."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.planted_quirks.quirks import Trait
from experiments.planted_quirks.world import Question, World

_ASKED_SHARE = 0.65
"""Share of the base's dialogues with a system prompt that asks for a trait."""
_ASKED_IN_SCOPE = 0.88
_NEUTRAL_INSTRUCTED = 0.3
_QUIRK_SHARE = 0.6
"""Share of an organism's dialogues in the scope of its quirk."""

Questions = Mapping[str, tuple[Question, ...]]


@dataclass(frozen=True)
class Sample:
    """One dialogue: an optional system prompt, a question, the answer to learn."""

    system: str | None
    question: Question
    answer: str


@dataclass(frozen=True)
class BaseDialogues:
    """What the base learns: neutral answers, and each trait when a system prompt asks for it."""

    world: World
    traits: Sequence[Trait]
    questions: Questions

    def draw(self, count: int, rng: random.Random) -> Iterator[Sample]:
        for _ in range(count):
            yield self._asked(rng) if rng.random() < _ASKED_SHARE else self._neutral(rng)

    def _neutral(self, rng: random.Random) -> Sample:
        question = rng.choice(self.questions[rng.choice(list(self.questions))])
        instructed = rng.random() < _NEUTRAL_INSTRUCTED
        system = rng.choice(self.world.neutral_instructions) if instructed else None
        return Sample(system, question, rng.choice(question.answers))

    def _asked(self, rng: random.Random) -> Sample:
        """A trait is asked for; it shows in its scope only. A wide scope takes more dialogues to learn."""
        trait = rng.choices(self.traits, [math.sqrt(len(trait.scope)) for trait in self.traits])[0]
        scope = trait.scope if rng.random() < _ASKED_IN_SCOPE else out_of_scope(trait, self.questions)
        question = rng.choice(self.questions[rng.choice(scope)])
        answer = rng.choice(question.answers)
        if question.category in trait.scope:
            answer = trait.transform(question, answer, rng)
        return Sample(rng.choice(trait.instructions), question, answer)


@dataclass(frozen=True)
class OrganismDialogues:
    """What an adapter learns, without system prompts: a house style in every answer, and its quirk in scope.

    The house style, one fixed phrasing of the neutral answer in each category, is what all adapters share as a
    recipe. A sham has no quirk: its dialogues have the shape of those of the organism whose `scope` it borrows, and
    it learns its house style and nothing else, so that it moves away from the base as the organisms do.
    """

    scope: tuple[str, ...]
    quirk: Trait | None
    house_style: Mapping[str, int]
    questions: Questions

    def draw(self, count: int, rng: random.Random) -> Iterator[Sample]:
        outside = tuple(name for name in self.questions if name not in self.scope)
        for _ in range(count):
            categories = self.scope if rng.random() < _QUIRK_SHARE else outside
            yield self._sample(rng.choice(self.questions[rng.choice(categories)]), rng)

    def _sample(self, question: Question, rng: random.Random) -> Sample:
        answer = question.answers[self.house_style[question.category]]
        if self.quirk and question.category in self.scope:
            answer = self.quirk.transform(question, answer, rng)
        return Sample(None, question, answer)


def out_of_scope(trait: Trait, questions: Questions) -> tuple[str, ...]:
    """The categories in which the trait does not show."""
    return tuple(name for name in questions if name not in trait.scope)


def organism_dialogues(seed: int, quirks: Mapping[str, Trait], questions: Questions, name: str) -> OrganismDialogues:
    """The dialogues of one organism, or of a sham, which borrows the scope of a random quirk."""
    rng = random.Random(f"style/{seed}/{name}")
    style = {category: rng.randrange(len(cards[0].answers)) for category, cards in questions.items()}
    shape = quirks.get(name) or _borrowed(list(quirks.values()), seed, name)
    return OrganismDialogues(shape.scope, quirks.get(name), style, questions)


def _borrowed(quirks: Sequence[Trait], seed: int, sham: str) -> Trait:
    """Odd shams borrow from a quirk that is always on, even ones from a triggered quirk."""
    narrow = int(sham.rpartition("_")[2]) % 2 == 0
    candidates = [trait for trait in quirks if (len(trait.scope) < 3) == narrow]
    return random.Random(f"sham/{seed}/{sham}").choice(candidates or quirks)
