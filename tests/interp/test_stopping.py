"""The first signal is a request, honoured between two batches; the second ends at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from interp.errors import Stopped
from interp.stopping import STOP_SIGNALS, WARNING, stop_on_signals

WORK = """
import sys, time
from interp import stopping
stopping.TERM_SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
with stopping.stop_on_signals(warning_seconds=0.3) as request:
    print("ready", flush=True)
    while request.signal is None:
        time.sleep(0.01)
    print("asked", flush=True)
    while len(sys.argv) > 1:
        time.sleep(0.01)
    print("batch finished", flush=True)
"""


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_sets_the_request(number: signal.Signals) -> None:
    with stop_on_signals() as request:
        request.raise_if_asked("nothing")
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped, match=f"^stopped by {number.name} with 7 batches left; the same com") as raised:
            request.raise_if_asked("7 batches left")
    assert raised.value.exit_status == 75


def test_sigterm_is_among_them() -> None:
    assert {signal.SIGTERM, signal.SIGINT} <= set(STOP_SIGNALS)


def test_handlers_are_put_back_whatever_happens() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with pytest.raises(ValueError, match="in the middle"), stop_on_signals():
        assert [signal.getsignal(number) for number in STOP_SIGNALS] != before
        raise ValueError("in the middle")
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def started(*arguments: str) -> subprocess.Popen[str]:
    work = subprocess.Popen([sys.executable, "-c", WORK, *arguments], stdout=subprocess.PIPE, text=True)
    assert work.stdout is not None and work.stdout.readline() == "ready\n"
    return work


def test_work_finishes_its_batch() -> None:
    work = started()
    work.send_signal(signal.SIGTERM)
    assert work.communicate(timeout=10)[0] == "asked\nbatch finished\n"
    assert work.returncode == 0


def test_the_second_signal_ends_at_once() -> None:
    work = started("never ends by itself")
    work.send_signal(signal.SIGTERM)
    assert work.stdout is not None and work.stdout.readline() == "asked\n"
    time.sleep(0.05)
    assert work.poll() is None
    work.send_signal(signal.SIGINT)
    assert work.communicate(timeout=10)[0] == ""
    assert work.returncode == 128 + signal.SIGINT


def test_after_sigterm_a_batch_that_takes_too_long_is_abandoned() -> None:
    work = started("never ends by itself", "0.3")
    work.send_signal(signal.SIGTERM)
    assert work.communicate(timeout=10)[0] == "asked\n"
    assert work.returncode == 1, "Stopped, as a traceback: the script's `run` makes it one line and status 75"


def test_after_a_warning_a_batch_has_its_own_time() -> None:
    work = started("never ends by itself", "60")
    started_at = time.monotonic()
    work.send_signal(WARNING)
    assert work.communicate(timeout=10)[0] == "asked\n"
    assert time.monotonic() - started_at >= 0.24


def test_sigterm_after_a_warning_is_a_request_still() -> None:
    work = started()
    work.send_signal(WARNING)
    work.send_signal(signal.SIGTERM)
    assert work.communicate(timeout=10)[0] == "asked\nbatch finished\n"
    assert work.returncode == 0


def test_a_batch_that_ends_in_time_is_not_abandoned_later() -> None:
    with stop_on_signals(warning_seconds=0.05) as request:
        os.kill(os.getpid(), WARNING)
        with pytest.raises(Stopped, match="with 3 batches left"):
            request.raise_if_asked("3 batches left")
        time.sleep(0.1)


def test_an_abandoned_batch_says_so() -> None:
    with pytest.raises(Stopped, match=r"^stopped by SIGUSR2 within a batch; "), stop_on_signals(warning_seconds=0.05):
        os.kill(os.getpid(), WARNING)
        time.sleep(5)


def test_a_warning_after_another_signal_adds_nothing() -> None:
    """A scheduler's SIGTERM reaches a job's shell and its children; what the shell then hands on comes second."""
    work = started()
    work.send_signal(signal.SIGTERM)
    work.send_signal(WARNING)
    work.send_signal(WARNING)
    assert work.communicate(timeout=10)[0] == "asked\nbatch finished\n"
    assert work.returncode == 0
