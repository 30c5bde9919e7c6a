"""Limits by a clock that the test turns."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from interp.judges.limits import Limits, Slot, Throttle, retry_after


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def pass_through(throttle: Throttle, clock: FakeTime, calls: int, tokens: float = 1) -> list[float]:
    """When each of some calls was let through, one after the other."""
    times = []
    for _ in range(calls):
        await throttle.enter(tokens)
        times.append(clock.now)
        throttle.leave()
    return times


def test_requests_a_minute_are_kept_in_every_minute() -> None:
    clock = FakeTime()
    throttle = Throttle(Limits(requests_per_minute=600), lambda: clock.now, clock.sleep)
    times = asyncio.run(pass_through(throttle, clock, 3000))
    most = max(sum(start <= time < start + 60 for time in times) for start in times[:2000:50])
    assert 590 <= most <= 611
    assert (times[-1] - times[0]) == pytest.approx(299, rel=0.02)


def test_tokens_a_minute_are_kept_by_calls_larger_than_the_bucket() -> None:
    clock = FakeTime()
    throttle = Throttle(Limits(tokens_per_minute=60_000), lambda: clock.now, clock.sleep)
    times = asyncio.run(pass_through(throttle, clock, 31, tokens=5000))
    assert times[-1] - times[0] == pytest.approx(30 * 5000 / 1000, rel=0.05)


def test_budgets_are_learnt_from_headers_unless_they_were_given() -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-limit-tokens": "60000"}
    spans = []
    for limits in (Limits(), Limits(requests_per_minute=600)):
        clock = FakeTime()
        throttle = Throttle(limits, lambda clock=clock: clock.now, clock.sleep)  # type: ignore[misc]
        throttle.learn(headers)
        times = asyncio.run(pass_through(throttle, clock, 101))
        spans.append(times[-1] - times[0])
    assert spans == pytest.approx([100, 10], rel=0.1)


def test_a_pause_holds_everything_up_to_its_bound() -> None:
    for asked, waited in ((300.0, 300.0), (5000.0, 600.0)):
        clock = FakeTime()
        throttle = Throttle(Limits(longest_pause=600), lambda clock=clock: clock.now, clock.sleep)  # type: ignore[misc]
        throttle.refused(Slot(0), asked)
        assert asyncio.run(pass_through(throttle, clock, 2)) == [1000 + waited] * 2


def test_calls_in_flight_halve_once_a_round_and_creep_up() -> None:
    throttle = Throttle(Limits(max_in_flight=64))
    for _ in range(100):
        throttle.succeeded()
    assert throttle.allowed == 64
    for _ in range(30):
        throttle.refused(Slot(0))
    assert throttle.allowed == 32
    for _ in range(33):
        throttle.succeeded()
    assert 32.9 < throttle.allowed < 33.1
    for cut in range(1, 20):
        throttle.refused(Slot(cut))
    assert throttle.allowed == 1


def in_flight_at_most(allowed: int) -> Callable[[], Coroutine[Any, Any, int]]:
    async def measure() -> int:
        throttle, most, running = Throttle(Limits(max_in_flight=allowed)), 0, 0

        async def call() -> None:
            nonlocal most, running
            await throttle.enter(1)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            throttle.leave()

        await asyncio.gather(*(call() for _ in range(50)))
        return most

    return measure


def test_no_more_are_in_flight_than_allowed() -> None:
    assert [asyncio.run(in_flight_at_most(allowed)()) for allowed in (1, 5)] == [1, 5]


def test_retry_after_in_all_its_forms() -> None:
    date = "Wed, 21 Oct 2015 07:28:30 GMT"
    cases = {"7": 7.0, "0.5": 0.5, "soon": None, "-3": None, "nan": None, date: 30.0}
    assert {text: retry_after({"retry-after": text}, now=1445412480.0) for text in cases} == cases
    assert retry_after({"retry-after-ms": "50", "retry-after": "9"}) == 0.05
    assert retry_after({}) is None
