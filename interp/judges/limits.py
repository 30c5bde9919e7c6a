"""How fast a judge may be asked: calls in flight that adapt to refusals, budgets a minute, pauses for all."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

_FIRST_IN_FLIGHT = 16
_SECONDS_OF_BURST = 1.0
_SHORTEST_WAIT = 1e-3

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """What the user allows. None: what the endpoint's `x-ratelimit-limit-*` headers say, else no limit.

    `longest_pause` bounds, in seconds, how long an endpoint may have everything wait.
    """

    max_in_flight: int = 256
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    longest_pause: float = 600.0


@dataclass(frozen=True)
class Slot:
    """A call that was let through; `cut` says how often the number in flight had been cut by then."""

    cut: int


class Bucket:
    """A budget that fills up steadily, at most one second's worth of it.

    A call may take more than there is, into debt, which the next one waits for: so large calls pass too.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute, self._level, self._then = per_minute, self._capacity(per_minute), now

    def wait(self, now: float) -> float:
        """Seconds until the next call may be made."""
        self._fill(now)
        return 0.0 if self._level >= 0 else max(_SHORTEST_WAIT, -self._level * 60 / self.per_minute)

    def take(self, amount: float) -> None:
        self._level -= amount

    def set_left(self, left: float) -> None:
        """Take the endpoint's word where it says that less is left."""
        self._level = min(self._level, left)

    def _fill(self, now: float) -> None:
        filled = self._level + (now - self._then) * self.per_minute / 60
        self._level, self._then = min(self._capacity(self.per_minute), filled), now

    @staticmethod
    def _capacity(per_minute: float) -> float:
        return max(1.0, per_minute * _SECONDS_OF_BURST / 60)


class Throttle:
    """Lets calls through one by one: `enter` before each, `leave` after it.

    The number in flight rises by one a success up to the first refusal, from then on by one a round of successes, and
    halves at a refusal (additive increase, multiplicative decrease: Chiu & Jain 1989), once for all calls that were
    sent before the last cut. Within one event loop at a time.
    """

    def __init__(self, limits: Limits, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self.limits = limits
        self.allowed = float(min(_FIRST_IN_FLIGHT, limits.max_in_flight))
        self._clock, self._sleep = clock, sleep
        self._cuts, self._resume = 0, clock()
        self.begin()
        given = {"requests": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
        self._given = {name for name, number in given.items() if number is not None}
        self._buckets = {name: Bucket(number, clock()) for name, number in given.items() if number is not None}

    def begin(self) -> None:
        """Forget the calls of an event loop that has ended; what was learnt about the endpoint stays."""
        self.in_flight = 0
        self._door, self._left = asyncio.Lock(), asyncio.Event()

    async def enter(self, tokens: float) -> Slot:
        """Wait for this call's turn, first come first served. `tokens`: what it will use, by estimate."""
        async with self._door:
            while self._wait() > 0 or self.in_flight >= int(self.allowed):
                await self._wait_a_while()
            self.in_flight += 1
            for name, amount in (("requests", 1.0), ("tokens", tokens)):
                if name in self._buckets:
                    self._buckets[name].take(amount)
            return Slot(self._cuts)

    def leave(self) -> None:
        self.in_flight -= 1
        self._left.set()

    def succeeded(self) -> None:
        """A call was answered: a little more may be in flight."""
        step = 1 / self.allowed if self._cuts else 1.0
        self.allowed = min(self.allowed + step, float(self.limits.max_in_flight))
        self._left.set()

    def refused(self, slot: Slot, pause: float | None = None) -> None:
        """A call was one too many: half as many in flight, and nothing is sent for `pause` seconds."""
        if slot.cut == self._cuts:
            self.allowed = max(1.0, self.allowed / 2)
            self._cuts += 1
        if pause is not None:
            self._resume = max(self._resume, self._clock() + min(pause, self.limits.longest_pause))

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take the budgets from an answer's headers, where the user has not given them."""
        for name in ("requests", "tokens"):
            limit = _number(headers.get(f"x-ratelimit-limit-{name}"))
            if limit is None or limit <= 0:
                continue
            if name not in self._buckets or (name not in self._given and self._buckets[name].per_minute != limit):
                self._buckets[name] = Bucket(limit, self._clock())
            left = _number(headers.get(f"x-ratelimit-remaining-{name}"))
            if left is not None:
                self._buckets[name].set_left(left)

    def _wait(self) -> float:
        """Seconds until pauses and budgets let a call through; 0 when they do."""
        now = self._clock()
        return max([self._resume - now, *(bucket.wait(now) for bucket in self._buckets.values())])

    async def _wait_a_while(self) -> None:
        wait = self._wait()
        if wait > 0:
            return await self._sleep(wait)
        self._left.clear()
        await self._left.wait()
        return None


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a reply asks to wait: `retry-after-ms`, or `retry-after` as seconds or date; None if it does not."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    return seconds if seconds is not None or not text else _seconds_until(text, time.time() if now is None else now)


def _seconds_until(date: str, now: float) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None
