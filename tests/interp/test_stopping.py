"""The first signal is a request, honoured between two batches; the second ends at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from interp.errors import Stopped
from interp.stopping import STOP_SIGNALS, stop_on_signals

WORK = """
import sys, time
from interp.stopping import stop_on_signals
with stop_on_signals() as request:
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
