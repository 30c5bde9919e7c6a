"""Stopping when a signal asks for it: between two batches, or, when the batch in hand takes too long, within it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from interp.errors import Stopped

WARNING = signal.SIGUSR2
"""The end is near, but not here: a scheduler's warning before its time limit."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, WARNING)
TERM_SECONDS = 20.0
"""What SIGTERM leaves for the batch in hand: schedulers kill 30 s after it, if nothing else is set."""
WARNING_SECONDS = 300.0
"""From a warning to the end, where nothing else is said."""
_SHARE = 0.8
"""Of the time after a warning that the batch in hand may take."""


class StopRequest:
    """Whether a signal has asked for a stop; work asks at its seams.

    Args:
        warning_seconds: how long before the end a warning comes; the batch in hand has most of that time.
    """

    def __init__(self, warning_seconds: float) -> None:
        self.signal: int | None = None
        self._patience = {signal.SIGTERM: TERM_SECONDS, WARNING: _SHARE * warning_seconds}

    def note(self, number: int, _: FrameType | None) -> None:
        """Handle a signal: the first is a request; a warning adds nothing to it; another signal ends at once.

        After a warning, the first other signal is the request.
        """
        if number == WARNING and self.signal is not None:
            return
        if self.signal not in (None, WARNING):
            os._exit(128 + number)
        self.signal = number
        if number in self._patience:
            signal.setitimer(signal.ITIMER_REAL, max(self._patience[signal.Signals(number)], 1e-3))

    def abandon(self, _: int, __: FrameType | None) -> None:
        """Give up the batch in hand: what it has written is whole, what it has not is made by the next run."""
        raise Stopped(f"stopped by {self._name()} within a batch; the same command goes on from here")

    def raise_if_asked(self, left: str) -> None:
        """
        Raises:
            Stopped: a signal came; `left` says what remains.
        """
        if self.signal is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Stopped(f"stopped by {self._name()} with {left}; the same command goes on from here")

    def _name(self) -> str:
        return signal.Signals(self.signal).name if self.signal is not None else "nothing"


@contextmanager
def stop_on_signals(warning_seconds: float = WARNING_SECONDS) -> Iterator[StopRequest]:
    """Turn stop signals into a request that work honours at its next seam, or within the batch when time runs out."""
    request = StopRequest(warning_seconds)
    handlers = {**dict.fromkeys(STOP_SIGNALS, request.note), signal.SIGALRM: request.abandon}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield request
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
