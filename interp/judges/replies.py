"""What an endpoint's reply means: a verdict, a reason to ask again, a lasting error, or the end of the run."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from interp.judges.limits import retry_after
from interp.judges.rubrics import Rubric, UnusableVerdict, Verdict

Kind = Literal["ok", "retry", "busy", "dialect", "permanent", "fatal"]
"""busy: a retry that says that less should be in flight. dialect: it wants the request put otherwise."""
Charge = Literal["yes", "no", "unknown"]

_FATAL = {401, 402, 403, 404}
_TRANSIENT = {408, 409, 425}
_LONGEST_ERROR = 300
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key)-[\w*.-]{4,}|(?i:\bbearer\s+\S+)")


@dataclass(frozen=True)
class Reply:
    """A reply, classified. `error` is in words, without a key; `pause` is what the endpoint asks to wait, in seconds.

    `charge`: whether tokens were charged; where that cannot be seen, the spending cap reckons with the worst.
    """

    kind: Kind
    verdict: Verdict | None = None
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    pause: float | None = None
    charge: Charge = "unknown"


def read_reply(status: int, headers: Mapping[str, str], body: bytes, rubric: Rubric) -> Reply:
    """What a reply over HTTP means."""
    content = _json_object(body)
    if status >= 400:
        return read_refusal(status, headers, content, body)
    if content is None:
        return Reply("retry", error=f"the reply was cut short or no JSON ({len(body)} bytes)")
    return read_completion(content, rubric, headers)


def read_completion(
    content: Mapping[str, Any], rubric: Rubric, headers: Mapping[str, str] | None = None
) -> Reply:
    """What the body of a reply with status 200 means. It may still hold an error: OpenRouter's do."""
    choices = content.get("choices")
    if content.get("error") or not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return _error_with_200(content, headers or {})
    usage = content.get("usage")
    used = _count(usage, "prompt_tokens")
    return replace(
        _read_choice(choices[0], rubric), charge="yes" if used else "unknown",
        input_tokens=used, output_tokens=_count(usage, "completion_tokens"),
    )  # fmt: skip


def _read_choice(choice: Mapping[str, Any], rubric: Rubric) -> Reply:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    reason = choice.get("finish_reason")
    if message.get("refusal"):
        return Reply("permanent", error=f"the judge refused: {plain(str(message['refusal']))}")
    if reason == "content_filter":
        return Reply("permanent", error="the judge's answer was stopped by a content filter")
    if reason == "length":
        return Reply("retry", error="the judge's answer was cut at its length limit (--max-output-tokens)")
    text = message.get("content")
    if not isinstance(text, str) or not text:
        return Reply("retry", error="the judge's answer was empty")
    try:
        return Reply("ok", rubric.parse(text))
    except UnusableVerdict as error:
        return Reply("retry", error=plain(str(error)))


def read_refusal(
    status: int, headers: Mapping[str, str], content: Mapping[str, Any] | None, body: bytes = b""
) -> Reply:
    """What a reply with an error status means."""
    error = _error_of(content)
    words = f"HTTP {status}: {plain(str(error.get('message') or _start(body) or 'no message'))}"
    return Reply(_kind_of_refusal(status, error), error=words, pause=retry_after(headers), charge="no")


def _kind_of_refusal(status: int, error: Mapping[str, Any]) -> Kind:
    if "insufficient_quota" in (error.get("code"), error.get("type")):
        return "fatal"
    if status == 403 and _is_moderation(error):
        return "permanent"
    if status in _FATAL:
        return "fatal"
    if status == 429:
        return "busy"
    if status >= 500 or status in _TRANSIENT:
        return "retry"
    return "dialect" if status in (400, 422) else "permanent"


def _error_with_200(content: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
    error = _error_of(content)
    code = error.get("code")
    status = int(code) if isinstance(code, int | str) and str(code).isdecimal() else 500
    words = plain(str(error.get("message") or "no choices and no error message"))
    kind = _kind_of_refusal(status if status >= 400 else 500, error)
    return Reply(kind, error=f"an error in a reply with status 200: {words}", pause=retry_after(headers))


def _error_of(content: Mapping[str, Any] | None) -> Mapping[str, Any]:
    error = (content or {}).get("error")
    return error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}


def _is_moderation(error: Mapping[str, Any]) -> bool:
    """OpenRouter's 403 for a text that was flagged: about this text, not about the key."""
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and ("flagged_input" in metadata or "reasons" in metadata)


def plain(text: str) -> str:
    """Words of an endpoint for a log or a file: one line, not long, with whatever looks like a key left out."""
    return " ".join(_KEY_LIKE.sub("[key]", text).split())[:_LONGEST_ERROR]


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _start(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")


def _count(usage: object, field: str) -> int:
    number = usage.get(field) if isinstance(usage, dict) else 0
    return number if isinstance(number, int) and number > 0 else 0
