"""Judging a long list of items: each text asked once, each answer written at once, the list never in memory."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from interp.judges.answers import Answered, CapReached, Judge
from interp.judges.prices import Price, estimated_answer_tokens, estimated_tokens
from interp.judges.rubrics import Rubric
from interp.judges.verdicts import VerdictFile, VerdictLine
from interp.records import Message

Item = tuple[str, Mapping[str, str]]
"""An item's id, and its texts by the rubric's placeholders."""

_PROGRESS_SECONDS = 1.0
_GRACE_SECONDS = 10.0
"""What calls in flight have to end by themselves, when a run stops early."""
_LOOK_SECONDS = 0.2
"""How often a stop is looked for while all workers wait for answers."""
_TURN = 100
"""Items that are served from the file before others have a turn."""


@dataclass
class Tally:
    """What has been done: items by outcome, and what was asked for them in this run.

    `from_cache` were in the file already, or have the text of an item that was judged. `calls` are requests, retries
    among them. `cost` is in USD, None where the price is unknown. `stopped` says why not all was asked, if so.
    """

    judged: int = 0
    from_cache: int = 0
    unjudged: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    stopped: str | None = None

    def add(self, answered: Answered) -> None:
        """Count an answer."""
        self.judged += answered.verdict is not None
        self.unjudged += answered.verdict is None
        self.calls += answered.requests
        self.input_tokens += answered.input_tokens
        self.output_tokens += answered.output_tokens
        self.cost = None if self.cost is None or answered.cost is None else self.cost + answered.cost

    def line(self) -> str:
        """For a log."""
        cost = "price unknown" if self.cost is None else f"${self.cost:.4f}"
        return (
            f"{self.judged} judged, {self.from_cache} from the file, {self.unjudged} unjudged; {self.calls} calls, "
            f"{self.input_tokens} + {self.output_tokens} tokens, {cost}"
        )


Report = Callable[[Tally], None]


class Source(Protocol):
    """Where items come from, one at a time."""

    async def take(self) -> Item | None:
        """The next item; None when there are no more."""
        ...


class IteratorSource:
    """The items of an iterator, which is never read further than what is being judged."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items: Iterator[Item] = iter(items)

    async def take(self) -> Item | None:
        return next(self._items, None)


def judge_all(
    items: Iterable[Item], judge: Judge, rubric: Rubric, file: VerdictFile, *,
    on_progress: Report | None = None, stop: Callable[[], bool] | None = None,
) -> Tally:  # fmt: skip
    """Have every item judged that has no verdict in `file` yet; what came of it.

    As many calls are in flight as the judge takes. Items with the same text are asked once. An item that ends in an
    error is unjudged: the next pass asks again for just these. At the spending cap the rest is unjudged, and
    `stopped` says so.

    Args:
        on_progress: called at most once a second, and at the end.
        stop: asked before each item; once it is true nothing more is asked.

    Raises:
        JudgeUnavailable: asking on is pointless; all answers that came are in the file.
        InputError: an item lacks a text that the rubric needs, or has one too many.
    """
    return asyncio.run(judge_source(IteratorSource(items), judge, rubric, file, on_progress=on_progress, stop=stop))


async def judge_source(
    source: Source, judge: Judge, rubric: Rubric, file: VerdictFile, *,
    on_progress: Report | None = None, stop: Callable[[], bool] | None = None,
) -> Tally:  # fmt: skip
    """`judge_all` within an event loop, from any source."""
    work = _Judging(source, judge, rubric, file, on_progress, stop)
    try:
        await work.run()
    finally:
        await judge.close()
        file.sync()
        work.report(at_once=True)
    return work.tally


class _Judging:
    """One run: workers that take items from one source until it is empty or one of them fails."""

    def __init__(
        self, source: Source, judge: Judge, rubric: Rubric, file: VerdictFile, on_progress: Report | None,
        stop: Callable[[], bool] | None,
    ) -> None:  # fmt: skip
        self.source, self.judge, self.rubric, self.file = source, judge, rubric, file
        self.tally = Tally()
        self._on_progress, self._reported = on_progress, time.monotonic()
        self._stop = stop or (lambda: False)
        self._halted = False
        self._asking: dict[bytes, asyncio.Future[Answered | None]] = {}

    async def run(self) -> None:
        """Until there is nothing more to take; the first worker's error stops the others, answers in hand are kept."""
        workers = [asyncio.create_task(self._work()) for _ in range(max(1, self.judge.in_flight))]
        try:
            await self._until_done_or_halted(set(workers))
        finally:
            self._halted = True
            for worker in workers:
                worker.cancel()
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def _until_done_or_halted(self, running: "set[asyncio.Task[None]]") -> None:
        """Until all workers are done; after a failure or a stop, calls in flight have some seconds left."""
        while running and not self._halted:
            done, running = await asyncio.wait(running, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            self._halted = self._halted or self._asked_to_stop() or any(each.exception() for each in done)
        if running:
            await asyncio.wait(running, timeout=_GRACE_SECONDS)

    def report(self, at_once: bool = False) -> None:
        if self._on_progress and (at_once or time.monotonic() - self._reported > _PROGRESS_SECONDS):
            self._reported = time.monotonic()
            self._on_progress(self.tally)

    async def _work(self) -> None:
        served = 0
        while not self._halted and not self._asked_to_stop() and (item := await self.source.take()) is not None:
            served += 1
            await self._handle(*item)
            self.report()
            if served % _TURN == 0:
                await asyncio.sleep(0)

    def _asked_to_stop(self) -> bool:
        if self._stop():
            self._halted = True
            self.tally.stopped = self.tally.stopped or "stopped before the end; the same command goes on from here"
        return self._halted

    async def _handle(self, item: str, values: Mapping[str, str]) -> None:
        messages = self.rubric.messages(values)
        key = self.file.key(messages)
        if self.file.has(item, key):
            self.tally.from_cache += 1
        elif self.file.knows(key):
            self._copy(item, key)
        elif key in self._asking:
            await self._follow(item, key, values)
        elif self.tally.stopped:
            self.tally.unjudged += 1
        else:
            await self._ask(item, key, messages)

    async def _ask(self, item: str, key: bytes, messages: tuple[Message, ...]) -> None:
        """Ask, write the answer, and let those know that wait for the same."""
        asking = self._asking[key] = asyncio.get_running_loop().create_future()
        answered: Answered | None = None
        try:
            answered = await self.judge.judge(messages, self.rubric)
            self._write(item, key, answered)
            self.tally.add(answered)
        except CapReached as reached:
            self.tally.stopped = str(reached)
            self.tally.unjudged += 1
        finally:
            del self._asking[key]
            asking.set_result(answered)

    async def _follow(self, item: str, key: bytes, values: Mapping[str, str]) -> None:
        """Wait for another item's answer to the same text, and share it."""
        answered = await asyncio.shield(self._asking[key])
        if answered is None:
            self.tally.unjudged += 1
        elif answered.verdict is not None:
            self._copy(item, key)
        else:
            self.tally.unjudged += 1
            self._write(item, key, Answered(None, answered.error, requests=0), copied=True)

    def _copy(self, item: str, key: bytes) -> None:
        self._write(item, key, Answered(self.file.find(key), requests=0), copied=True)
        self.tally.from_cache += 1

    def _write(self, item: str, key: bytes, answered: Answered, copied: bool = False) -> None:
        self.file.append(verdict_line(self.file, item, key, answered, copied))


def verdict_line(file: VerdictFile, item: str, key: bytes, answered: Answered, copied: bool = False) -> VerdictLine:
    """The line that `file` keeps of an answer."""
    return VerdictLine(
        key=key.hex(), item=item, rubric=file.rubric.name, rubric_hash=file.rubric.hash, judge=file.judge,
        verdict=answered.verdict, error=answered.error, input_tokens=answered.input_tokens,
        output_tokens=answered.output_tokens, requests=answered.requests, cost=answered.cost, copied=copied,
    )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What judging a list would take, by estimate: `calls` without retries, `cost` in USD (None: price unknown)."""

    items: int
    from_cache: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None

    def line(self) -> str:
        """For people."""
        cost = "price unknown" if self.cost is None else f"about ${self.cost:.2f}"
        return (
            f"{self.items} items, {self.from_cache} of them judged or with the text of another; {self.calls} calls, "
            f"about {self.input_tokens} + {self.output_tokens} tokens, {cost}"
        )


def plan_judging(items: Iterable[Item], rubric: Rubric, file: VerdictFile, price: Price | None) -> Plan:
    """What `judge_all` would do with these items, without a call."""
    count, tokens = 0, 0.0
    asked: set[bytes] = set()
    answer, schema = estimated_answer_tokens(rubric), rubric.schema_bytes / 4
    for _, values in items:
        count += 1
        messages = rubric.messages(values)
        key = file.key(messages)
        if not file.knows(key) and key not in asked:
            asked.add(key)
            tokens += estimated_tokens(messages) + schema
    output = len(asked) * answer
    cost = None if price is None else price.cost(tokens, output)
    return Plan(count, count - len(asked), len(asked), round(tokens), round(output), cost)
