"""One holder at a time, whatever happens to the holders."""

import errno
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interp import leases as module
from interp.leases import Lease, Leases
from interp.paths import REPOSITORY

KEY = "generate/some one/audit_bleachers/discovery/3"

HOLDER = """
import sys, time
from pathlib import Path
from interp.leases import Leases
with Leases(Path(sys.argv[1]), float(sys.argv[2])) as leases:
    print(leases.claim(sys.argv[3]), flush=True)
    time.sleep(600)
"""


def holder(folder: Path, seconds: float = 60.0) -> subprocess.Popen[str]:
    """Another process that holds KEY until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(folder), str(seconds), KEY]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().startswith("Lease(")
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def pretend_elsewhere(folder: Path) -> None:
    """Make the workers in a folder say that they run on another machine, so that only heartbeats tell of them."""
    for path in folder.glob(".*.tmp"):
        about = json.loads(path.read_bytes())
        path.write_text(json.dumps({**about, "boot": "another machine's", "host": "node17"}))


def test_a_key_has_one_holder_and_is_free_again_after_its_release(tmp_path: Path) -> None:
    with Leases(tmp_path / "leases") as one, Leases(tmp_path / "leases") as other:
        lease = one.claim(KEY)
        assert lease is not None and one.holds(lease)
        assert other.claim(KEY) is None
        assert other.claim("generate/another") is not None
        one.release(lease)
        assert other.claim(KEY) is not None


def test_the_last_to_leave_removes_the_folder(tmp_path: Path) -> None:
    with Leases(tmp_path / "leases") as one:
        with Leases(tmp_path / "leases") as other:
            other.claim(KEY)
        assert list(one.current()) == []
        one.claim(KEY)
    assert list(tmp_path.iterdir()) == []


def test_keys_survive_the_way_through_file_names() -> None:
    for key in (KEY, "a@b/c%2F~é ", "extract/x"):
        assert Lease.parse(Lease(key, 12).file_name) == Lease(key, 12)
        assert "/" not in Lease(key, 1).file_name


def test_a_killed_holder_on_this_machine_is_known_at_once(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with Leases(tmp_path, 3600) as leases:
        lease = leases.current()[KEY]
        assert not leases.is_abandoned(lease) and leases.claim(KEY) is None
        end(process)
        assert leases.is_abandoned(lease)
        taken = leases.claim(KEY, lease)
        assert taken == Lease(KEY, 2) and leases.holds(taken)
        assert leases.current() == {KEY: taken}
    assert not list(tmp_path.glob("*@*"))


def test_a_lost_machine_is_known_by_its_silence_alone(tmp_path: Path) -> None:
    process = holder(tmp_path)
    pretend_elsewhere(tmp_path)
    end(process)
    with Leases(tmp_path, 0.5) as leases:
        lease = leases.current()[KEY]
        assert not leases.is_abandoned(lease)
        time.sleep(0.3)
        assert not leases.is_abandoned(lease), "0.3 s of silence are not 0.5"
        time.sleep(0.4)
        assert leases.is_abandoned(lease)
        assert leases.claim(KEY, lease) is not None
    assert not tmp_path.exists(), "nothing of the lost one stays"


def test_a_beating_heart_keeps_a_lease_however_long(tmp_path: Path) -> None:
    process = holder(tmp_path, seconds=0.6)
    pretend_elsewhere(tmp_path)
    with Leases(tmp_path, 0.6) as leases:
        lease = leases.current()[KEY]
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            assert not leases.is_abandoned(lease)
            time.sleep(0.05)
    end(process)


def test_a_worker_that_slept_finds_its_lease_taken_and_takes_nothing_back(tmp_path: Path) -> None:
    """A suspended holder: its machine sleeps, another takes over, it wakes up."""
    process = holder(tmp_path, seconds=0.3)
    pretend_elsewhere(tmp_path)
    with Leases(tmp_path, 0.3) as leases:
        process.send_signal(signal.SIGSTOP)
        lease = leases.current()[KEY]
        while not leases.is_abandoned(lease):
            time.sleep(0.05)
        taken = leases.claim(KEY, lease)
        assert taken is not None
        process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        assert leases.holds(taken)
        with Leases(tmp_path, 0.3) as third:
            assert third.claim(KEY) is None and not third.is_abandoned(taken)
        end(process)


def test_who_slept_knows_that_it_holds_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Leases(tmp_path, 3600) as slept, Leases(tmp_path, 3600) as other:
        lease = slept.claim(KEY)
        assert lease is not None
        monkeypatch.setattr(module, "_died_here", lambda about: True)
        assert other.is_abandoned(lease)
        taken = other.claim(KEY, lease)
        assert taken is not None and not slept.holds(lease)
        slept.release(lease)
        assert other.holds(taken) and other.current() == {KEY: taken}


def test_two_that_judge_one_holder_lost_do_not_both_follow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end(holder(tmp_path))
    monkeypatch.setattr(Leases, "sweep", lambda self: None)
    with Leases(tmp_path) as one, Leases(tmp_path) as other:
        lease = one.current()[KEY]
        assert one.is_abandoned(lease) and other.is_abandoned(lease)
        assert one.claim(KEY, lease) is not None
        assert other.claim(KEY, lease) is None


def test_a_late_verdict_on_a_lost_holder_takes_nothing_from_its_living_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B judges A lost and stands still; C follows A and is done; D claims anew; B wakes up and must back off."""
    end(holder(tmp_path))
    monkeypatch.setattr(Leases, "sweep", lambda self: None)
    with Leases(tmp_path) as late, Leases(tmp_path) as quick, Leases(tmp_path) as living:
        lost = late.current()[KEY]
        assert late.is_abandoned(lost) and quick.is_abandoned(lost)
        followed = quick.claim(KEY, lost)
        assert followed is not None
        quick.release(followed)
        assert living.current() == {}
        anew = living.claim(KEY)
        assert anew == lost, "the same name as that of the lost one"
        assert late.claim(KEY, lost) is None
        assert living.holds(anew) and living.current() == {KEY: anew}


def test_whoever_links_an_old_name_beside_a_later_claim_backs_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose listing was empty, against the holder of the second generation."""
    end(holder(tmp_path))
    monkeypatch.setattr(Leases, "sweep", lambda self: None)
    with Leases(tmp_path) as one, Leases(tmp_path) as other:
        lost = one.current()[KEY]
        assert one.is_abandoned(lost)
        taken = one.claim(KEY, lost)
        assert taken == Lease(KEY, 2)
        assert other.claim(KEY, None) is None
        assert one.holds(taken) and other.current() == {KEY: taken}


def test_an_answer_that_got_lost_on_the_way_still_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS repeats a request whose answer it has not heard; the repeated link finds the name taken, by itself."""
    with Leases(tmp_path) as leases:
        link = os.link

        def twice(source: Path, target: Path) -> None:
            link(source, target)
            link(source, target)

        monkeypatch.setattr(os, "link", twice)
        assert leases.claim(KEY) is not None


def test_without_hard_links_workers_work_on_each_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Leases(tmp_path) as leases:
        for number in range(3):
            lease = leases.claim(f"key {number}")
            assert lease is not None and leases.holds(lease)
            leases.release(lease)
    assert len([record for record in caplog.records if "use --shard i/n" in record.message]) == 1


def test_leases_of_the_dead_are_swept(tmp_path: Path) -> None:
    end(holder(tmp_path))
    assert list(tmp_path.glob("*@*"))
    with Leases(tmp_path) as leases:
        assert leases.current() == {} and not list(tmp_path.glob("*@*"))


def claim_often(folder: Path, n_keys: int, claims: int, name: int) -> None:
    """Claim, write who holds, see that nobody else wrote in between, release; so often, on a few keys."""
    draw = random.Random(name)
    with Leases(folder / "leases") as leases:
        while claims:
            number = draw.randrange(n_keys)
            lease = leases.claim(f"key {number}")
            if lease is None:
                continue
            witness = folder / f"{number}.holder"
            handle = os.open(witness, os.O_CREAT | os.O_EXCL | os.O_WRONLY)  # fails when another holder is in
            os.write(handle, str(name).encode())
            os.close(handle)
            time.sleep(0.0005)
            assert witness.read_text() == str(name) and leases.holds(lease)
            witness.unlink()
            leases.release(lease)
            claims -= 1


def test_many_processes_on_few_keys_never_hold_one_twice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=claim_often, args=(tmp_path, 2, 100, name)) for name in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    assert list(tmp_path.iterdir()) == []


def test_the_host_is_named(tmp_path: Path) -> None:
    with Leases(tmp_path) as leases:
        lease = leases.claim(KEY)
        assert lease is not None
        assert module.describe_owner(tmp_path / lease.file_name) == f"{socket.gethostname()}, process {os.getpid()}"
