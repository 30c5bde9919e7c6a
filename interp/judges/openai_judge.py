"""A judge behind an OpenAI-compatible endpoint: OpenAI, OpenRouter, a server of one's own."""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from interp.judges.answers import Answered, CapReached, JudgeUnavailable
from interp.judges.dialect import Dialect
from interp.judges.limits import Limits, Slot, Throttle
from interp.judges.prices import estimated_answer_tokens, estimated_tokens, most_tokens
from interp.judges.replies import Reply, read_reply
from interp.judges.rubrics import Rubric
from interp.judges.spending import Spending
from interp.records import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_RETRIES = 3
_BUSY_RETRIES = 10
"""Refusals for load say nothing about the text, and end as fewer calls are in flight."""
_LONGEST_BACKOFF = 30.0
_NOT_SENT = Reply("retry", charge="no")
_UNANSWERED = Reply("retry")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked. The key, empty where none is needed, is in no repr, log, error or file."""

    model: str
    base_url: str
    key: str = field(repr=False)
    timeout: float = 60.0
    """Seconds of one request, from its sending to the last byte of its reply."""
    max_output_tokens: int = 2000
    first_backoff: float = 1.0
    """Seconds before the first retry, before jitter; doubled for each further one."""


class OpenAIJudge:
    """Asks a model for verdicts in the rubric's schema, retries what may pass, and tells what it cost.

    Errors that may pass (5xx, time-outs, lost connections, answers cut short or out of schema) are retried three times
    with growing, jittered waits; refusals for load ten times, with everything waiting as long as the endpoint asks.
    """

    def __init__(self, endpoint: Endpoint, limits: Limits | None = None, spending: Spending | None = None) -> None:
        self.endpoint = endpoint
        self.throttle = Throttle(limits or Limits())
        self.spending = spending or Spending(None)
        self.dialect = Dialect()
        self._client: AsyncOpenAI | None = None

    @property
    def name(self) -> str:
        return self.endpoint.model

    @property
    def in_flight(self) -> int:
        return self.throttle.limits.max_in_flight

    async def judge(self, messages: Sequence[Message], rubric: Rubric) -> Answered:
        """The model's verdict, or why there is none.

        Raises:
            JudgeUnavailable: the key, the account or the model is refused.
            CapReached: the next request could pass the spending cap, and none was sent for this text.
        """
        if not _is_unicode(messages):
            return Answered(None, "the text holds half of a character and cannot be sent", requests=0)
        tries = _Tries()
        while True:
            try:
                reply = await self._request(messages, rubric, tries)
            except CapReached as error:
                if tries.requests == 0:
                    raise
                return tries.answered(Reply("permanent", error=f"no retry: {error}"))
            if reply.kind == "fatal":
                raise JudgeUnavailable(f"judge {self.name} at {self.host} takes no more: {reply.error}")
            if reply.kind in ("ok", "permanent") or tries.exhausted(reply):
                return tries.answered(reply)
            await asyncio.sleep(self._wait(reply, tries))

    async def close(self) -> None:
        client, self._client = self._client, None
        self.throttle.begin()
        self.spending.begin()
        if client is not None:
            await client.close()

    def request_body(self, messages: Sequence[Message], rubric: Rubric) -> dict[str, Any]:
        """The body of one request, as the endpoint is known to take it."""
        return self.dialect.request(self.name, messages, rubric, self.endpoint.max_output_tokens)

    def read(self, status: int, headers: Mapping[str, str], body: bytes, rubric: Rubric) -> Reply:
        """What a reply means, its words without the key, should the endpoint have echoed it."""
        reply = read_reply(status, headers, body, rubric)
        if reply.error and self.endpoint.key:
            return read_reply(status, headers, body.replace(self.endpoint.key.encode(), b"[key]"), rubric)
        return reply

    async def _request(self, messages: Sequence[Message], rubric: Rubric, tries: "_Tries") -> Reply:
        """One request, when limits and cap let it through."""
        most_input = most_tokens(messages, rubric.schema_bytes)
        reservation = await self.spending.reserve(most_input, self.endpoint.max_output_tokens)
        reply = _NOT_SENT
        try:
            slot = await self.throttle.enter(estimated_tokens(messages) + estimated_answer_tokens(rubric))
            reply, dialect = _UNANSWERED, self.dialect
            tries.requests += 1
            try:
                reply = await self._send(self.request_body(messages, rubric), rubric)
            finally:
                self.throttle.leave()
        finally:
            tries.add(reply, self.spending.settle(reservation, reply.charge, reply.input_tokens, reply.output_tokens))
        return self._adapt(reply, slot, dialect)

    async def _send(self, body: dict[str, Any], rubric: Rubric) -> Reply:
        """The reply to one request; a time-out or a lost connection is a reply too."""
        from openai import APIConnectionError, APIStatusError

        client = self._open()
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                raw = await client.chat.completions.with_raw_response.create(**body)
        except APIStatusError as error:
            response = error.response
            return self.read(error.status_code, response.headers, response.content, rubric)
        except TimeoutError:
            return Reply("retry", error=f"no reply within {self.endpoint.timeout:g} s")
        except APIConnectionError as error:
            return Reply("retry", error=f"the connection failed ({type(error.__cause__ or error).__name__})")
        self.throttle.learn(raw.headers)
        return self.read(200, raw.headers, raw.content, rubric)

    def _adapt(self, reply: Reply, slot: Slot, dialect: Dialect) -> Reply:
        """Learn from a reply how many calls the endpoint bears, and how it wants them put."""
        if reply.kind == "ok":
            self.throttle.succeeded()
        elif reply.kind == "busy" or reply.pause is not None:
            self.throttle.refused(slot, reply.pause)
        elif reply.kind == "dialect":
            simpler = dialect.without(reply.error or "")
            if simpler is None:
                return replace(reply, kind="permanent")
            if self.dialect == dialect:
                log.warning("judge %s: asking otherwise from now on, because of: %s", self.name, reply.error)
                self.dialect = simpler
        return reply

    def _wait(self, reply: Reply, tries: "_Tries") -> float:
        """Seconds before the next request for this text; pauses that an endpoint asks for are kept by the throttle."""
        if reply.kind == "dialect" or reply.pause is not None:
            return 0.0
        count = tries.refusals if reply.kind == "busy" else tries.failures
        return min(_LONGEST_BACKOFF, self.endpoint.first_backoff * 2.0 ** (count - 1)) * random.uniform(0.5, 1.5)

    def _open(self) -> "AsyncOpenAI":
        if self._client is None:
            from openai import AsyncOpenAI, DefaultAioHttpClient

            for noisy in ("openai", "httpx2", "httpcore2", "aiohttp"):  # they log texts, addresses and headers
                logging.getLogger(noisy).setLevel(logging.WARNING)
            self._client = AsyncOpenAI(
                api_key=self.endpoint.key or "none", base_url=self.endpoint.base_url, max_retries=0,
                timeout=self.endpoint.timeout, http_client=DefaultAioHttpClient(),
            )  # fmt: skip
        return self._client

    @property
    def host(self) -> str:
        """The endpoint's name, for messages."""
        return urlsplit(self.endpoint.base_url).hostname or "?"


def _is_unicode(messages: Sequence[Message]) -> bool:
    try:
        return all(message.content.encode() is not None for message in messages)
    except UnicodeEncodeError:
        return False


@dataclass
class _Tries:
    """What asking about one text has taken so far."""

    requests: int = 0
    failures: int = 0
    refusals: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0

    def add(self, reply: Reply, cost: float | None) -> None:
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens
        self.cost = None if cost is None or self.cost is None else self.cost + cost

    def exhausted(self, reply: Reply) -> bool:
        """Count what went wrong; whether it went wrong too often."""
        if reply.kind == "busy":
            self.refusals += 1
        elif reply.kind == "retry":
            self.failures += 1
        return self.failures > _RETRIES or self.refusals > _BUSY_RETRIES

    def answered(self, reply: Reply) -> Answered:
        error = None if reply.verdict is not None else f"{reply.error} ({self.requests} requests)"
        return Answered(
            reply.verdict, error, self.input_tokens, self.output_tokens, requests=self.requests, cost=self.cost
        )
