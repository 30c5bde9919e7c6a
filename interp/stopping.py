"""Stopping between two batches when a signal asks for it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from interp.errors import Stopped

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class StopRequest:
    """Whether a signal has asked for a stop; work asks at its seams."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def raise_if_asked(self, left: str) -> None:
        """
        Raises:
            Stopped: a signal came; `left` says what remains.
        """
        if self.signal is not None:
            name = signal.Signals(self.signal).name
            raise Stopped(f"stopped by {name} with {left}; the same command goes on from here")


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first stop signal into a request that work honours at its next seam; the second ends at once."""
    request = StopRequest()

    def note(number: int, _: FrameType | None) -> None:
        if request.signal is not None:
            os._exit(128 + number)
        request.signal = number

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
