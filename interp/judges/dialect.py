"""How a request is put, for endpoints that do not take all of the chat completions interface."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from interp.judges.rubrics import Rubric
from interp.records import Message

Format = Literal["schema", "json", "plain"]
_NEXT_FORMAT: Mapping[Format, Format] = {"schema": "json", "json": "plain"}
_FORMAT_WORDS = ("response_format", "json_schema", "json_object", "structured output")
_LIMIT_NAMES = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True)
class Dialect:
    """Begins with all that is wished for; a refusal that names a setting takes it away for good.

    `format`: schema, the endpoint keeps to the rubric's schema; json, to some JSON; plain, to nothing. In the last two
    the schema is part of the instructions.
    """

    format: Format = "schema"
    temperature: bool = True
    limit_name: str | None = _LIMIT_NAMES[0]

    def without(self, refusal: str) -> "Dialect | None":
        """The dialect without the setting that a refusal's words are about; None when it is about something else."""
        words = refusal.lower()
        if self.limit_name and self.limit_name in words:
            known = _LIMIT_NAMES.index(self.limit_name) + 1
            return replace(self, limit_name=_LIMIT_NAMES[known] if known < len(_LIMIT_NAMES) else None)
        if self.temperature and "temperature" in words:
            return replace(self, temperature=False)
        if self.format in _NEXT_FORMAT and any(each in words for each in _FORMAT_WORDS):
            return replace(self, format=_NEXT_FORMAT[self.format])
        return None

    def request(self, model: str, messages: Sequence[Message], rubric: Rubric, max_output: int) -> dict[str, Any]:
        """The body of a chat completions request."""
        body: dict[str, Any] = {"model": model, "messages": self._messages(messages, rubric)}
        if self.temperature:
            body["temperature"] = 0
        if self.limit_name:
            body[self.limit_name] = max_output
        if self.format == "schema":
            body["response_format"] = schema_format(rubric)
        elif self.format == "json":
            body["response_format"] = {"type": "json_object"}
        return body

    def _messages(self, messages: Sequence[Message], rubric: Rubric) -> list[dict[str, str]]:
        sent = [{"role": each.role, "content": each.content} for each in messages]
        if self.format != "schema":
            sent[0]["content"] += _INSTRUCTION + json.dumps(rubric.response_schema(), ensure_ascii=False)
        return sent


def schema_format(rubric: Rubric) -> dict[str, Any]:
    """The `response_format` that makes an endpoint keep to the rubric's schema."""
    name = rubric.name.replace(".", "_")[:64]
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "strict": True, "schema": rubric.response_schema()},
    }


_INSTRUCTION = "\n\nAnswer with one JSON object and nothing else. It must fit this JSON schema:\n"
