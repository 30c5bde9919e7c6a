"""The fields of a verdict: what a judge may answer to one question of a rubric."""

import json
import re
from math import isfinite
from typing import Any, Literal, Self

from pydantic import model_validator

from interp.records import Record

Answer = bool | int | float | str | None
Verdict = dict[str, Answer]
"""A judge's structured answer, by field."""

_TYPES = {"boolean": "boolean", "text": "string", "one_of": "string", "number": "number"}
_CODE_BLOCK = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


class UnusableVerdict(Exception):
    """A judge's answer that holds no verdict. `kind` says why: `not JSON` (cut short, or prose) or `out of schema`."""

    def __init__(self, kind: Literal["not JSON", "out of schema"], message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class VerdictField(Record):
    """One question of a rubric.

    `one_of` answers are among `options`; a `number` lies in `low` to `high`, both included; where `optional`, null is
    an answer.
    """

    name: str
    type: Literal["boolean", "text", "one_of", "number"]
    description: str = ""
    optional: bool = False
    options: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"{self.name!r}: names of fields are lower-case letters, digits and '_'")
        if (self.type == "one_of") != bool(self.options):
            raise ValueError(f"{self.name}: `options` are for one_of fields, which need them")
        has_range = self.low is not None and self.high is not None
        if (self.type == "number") != has_range or (self.type != "number" and (self.low, self.high) != (None, None)):
            raise ValueError(f"{self.name}: `low` and `high` are for number fields, which need both")
        return self

    def json_schema(self) -> dict[str, Any]:
        """Its part of a strict JSON schema."""
        kind = _TYPES[self.type]
        schema: dict[str, Any] = {"type": [kind, "null"] if self.optional else kind}
        if self.description:
            schema["description"] = self.description
        if self.type == "one_of":
            schema["enum"] = [*self.options, *([None] if self.optional else [])]
        if self.type == "number":
            schema |= {"minimum": self.low, "maximum": self.high}
        return schema

    @property
    def default(self) -> Answer:
        """What a scripted judge says where its script says nothing."""
        if self.optional:
            return None
        defaults: dict[str, Answer] = {"boolean": False, "text": "", "number": self.low}
        return defaults.get(self.type, next(iter(self.options), ""))

    def read(self, value: object) -> Answer:
        """`value` as an answer to this field; numbers become floats.

        Raises:
            UnusableVerdict: it is none.
        """
        if value is None and self.optional:
            return None
        if self.type == "boolean" and isinstance(value, bool):
            return value
        if self.type == "number":
            return self._read_number(value)
        if isinstance(value, str) and (self.type == "text" or value in self.options):
            return value
        raise self._refusal(value)

    def _read_number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self._refusal(value)
        assert self.low is not None and self.high is not None
        if not self.low <= value <= self.high:
            raise self._refusal(value)
        return float(value)

    def _refusal(self, value: object) -> UnusableVerdict:
        wanted = {"one_of": f"one of {', '.join(self.options)}", "number": f"a number from {self.low} to {self.high}"}
        return UnusableVerdict(
            "out of schema", f"{self.name} should be {wanted.get(self.type, self.type)}, not {str(value)[:60]!r}"
        )


def read_answer(text: str) -> dict[str, Any]:
    """The JSON object that a judge's answer is, with or without a Markdown code block around it.

    Raises:
        UnusableVerdict: it is not one.
    """
    fenced = _CODE_BLOCK.fullmatch(text)
    try:
        answer = json.loads(fenced[1] if fenced else text)
    except (json.JSONDecodeError, RecursionError):
        raise UnusableVerdict("not JSON", f"{text[:60]!r}…" if text else "an empty answer") from None
    if not isinstance(answer, dict):
        raise UnusableVerdict("out of schema", f"an object was asked for, not {text[:60]!r}")
    return answer
