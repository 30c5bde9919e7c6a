"""A judge that follows a script: no model, no network, the same verdict for the same text.

For tests, dry runs and examples. It can be made to err at known rates, so that a correction for judge error has
something to correct.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from interp.errors import InputError
from interp.judges.answers import Answered
from interp.judges.rubrics import Rubric, UnusableVerdict, read_fenced
from interp.judges.verdict_fields import Answer, Verdict
from interp.records import Message, Record, check_id, read_record

Rule = Callable[[str], Mapping[str, Answer]]
"""From a text to the fields of a verdict that are not their defaults."""


class Rates(Record):
    """How often a field that is true, or false, by the script is reported so."""

    true_positive_rate: float = 1.0
    true_negative_rate: float = 1.0

    @model_validator(mode="after")
    def _are_rates(self) -> Self:
        if not (0 <= self.true_positive_rate <= 1 and 0 <= self.true_negative_rate <= 1):
            raise ValueError("rates lie between 0 and 1")
        return self


class ScriptRule(Record):
    """Where `pattern` is found (case is ignored), the verdict has these fields; named groups of it are fields too."""

    pattern: str
    verdict: dict[str, Answer] = Field(default_factory=dict)

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return value


class Script(Record):
    """A file for `--judge scripted:FILE`: the first rule whose pattern is found decides, else `otherwise`.

    `value` names the placeholder whose text is searched.
    """

    name: str
    rules: tuple[ScriptRule, ...]
    otherwise: dict[str, Answer] = Field(default_factory=dict)
    value: str = "response"
    noise: dict[str, Rates] = Field(default_factory=dict)
    seed: int = 0

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, value: str) -> str:
        return check_id(value)

    def decide(self, text: str) -> Mapping[str, Answer]:
        """The fields that the script gives a text."""
        for rule in self.rules:
            found = re.search(rule.pattern, text, re.IGNORECASE)
            if found:
                return {**rule.verdict, **found.groupdict()}
        return self.otherwise


class ScriptedJudge:
    """A judge in this process. Fields that `rule` leaves out are false, empty, null, the first option, the lowest.

    Args:
        rule: what it says to the text of the placeholder `value`.
        noise: boolean fields that it misreports at given rates, drawn from a hash of `seed` and the messages.
    """

    def __init__(
        self, rule: Rule, *, name: str = "scripted", value: str = "response", noise: Mapping[str, Rates] | None = None,
        seed: int = 0, in_flight: int = 8,
    ) -> None:  # fmt: skip
        self.name, self.in_flight = name, in_flight
        self._rule, self._value, self._noise, self._seed = rule, value, dict(noise or {}), seed

    async def judge(self, messages: Sequence[Message], rubric: Rubric) -> Answered:
        """Its verdict; never a request, a token or a cent.

        Raises:
            InputError: the script says something that the rubric does not ask.
        """
        decided = self._rule(read_fenced(messages, self._value))
        verdict = _complete(rubric, decided)
        for field, rates in self._noise.items():
            if not isinstance(verdict.get(field), bool):
                raise InputError(f"judge {self.name}: {field!r} is no boolean field of rubric {rubric.name}")
            verdict[field] = _misread(bool(verdict[field]), rates, _draw(self._seed, field, messages))
        return Answered(verdict, requests=0)

    async def close(self) -> None:
        """Nothing is open."""


def read_scripted_judge(path: Path) -> ScriptedJudge:
    """The judge of a script file. Its name carries a hash of the script: another script is another judge.

    Raises:
        InputError: the file is missing or malformed.
    """
    script = read_record(Script, path)
    digest = hashlib.sha256(script.model_dump_json().encode()).hexdigest()[:8]
    return ScriptedJudge(
        script.decide, name=f"scripted-{script.name}-{digest}", value=script.value, noise=script.noise, seed=script.seed
    )


def _complete(rubric: Rubric, decided: Mapping[str, Answer]) -> Verdict:
    unknown = sorted(decided.keys() - {field.name for field in rubric.fields})
    if unknown:
        raise InputError(f"the script's fields {', '.join(unknown)} are not of rubric {rubric.name}")
    try:
        return {
            field.name: field.read(decided[field.name]) if field.name in decided else field.default
            for field in rubric.fields
        }
    except UnusableVerdict as error:
        raise InputError(f"the script does not fit rubric {rubric.name}: {error}") from None


def _misread(truth: bool, rates: Rates, draw: float) -> bool:
    return draw < rates.true_positive_rate if truth else draw >= rates.true_negative_rate


def _draw(seed: int, field: str, messages: Sequence[Message]) -> float:
    """Uniform on [0, 1), the same for the same messages."""
    digest = hashlib.blake2b(f"{seed}\0{field}\0".encode(), digest_size=8)
    for message in messages:
        digest.update(message.content.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()) / 2**64
