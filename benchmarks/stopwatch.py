"""Seconds by stage, wall clock and processor; a stage inside another counts for itself alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from interp.records import Record

Result = TypeVar("Result")

OTHER = "other"
UNCOUNTED = "uncounted"
"""What a stage of this name takes is left out of every sum."""


class Cost(Record):
    """Seconds. `cpu` is that of all threads of the process: other work on the machine hardly changes it."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(wall=self.wall + other.wall, cpu=self.cpu + other.cpu)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(wall=self.wall - other.wall, cpu=self.cpu - other.cpu)

    def __mul__(self, times: float) -> "Cost":
        return Cost(wall=self.wall * times, cpu=self.cpu * times)


class Stopwatch:
    """Runs from its making; what no stage claims is `other`."""

    def __init__(self) -> None:
        self.stages: dict[str, Cost] = {OTHER: Cost()}
        self._open = [OTHER]
        self._last = now()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the time of the block to `name`, and not to the stage around it."""
        self.lap()
        self._open.append(name)
        try:
            yield
        finally:
            self.lap()
            self._open.pop()

    def timed(self, name: str, function: Callable[..., Result]) -> Callable[..., Result]:
        """`function`, its calls charged to `name`."""

        def call(*args: object, **kwargs: object) -> Result:
            with self.stage(name):
                return function(*args, **kwargs)

        return call

    def lap(self) -> None:
        """Charge what has passed since the last lap to the stage that is open."""
        time_now = now()
        stage = self._open[-1]
        self.stages[stage] = self.stages.get(stage, Cost()) + (time_now - self._last)
        self._last = time_now


def now() -> Cost:
    return Cost(wall=time.perf_counter(), cpu=time.process_time())
