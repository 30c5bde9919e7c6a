"""Who takes what: every piece is done by somebody, none by two, and nothing waits for the slow or the lost."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from interp.leases import Leases
from interp.sharing import HowToShare, SharedWork

GROUPS = ("ant", "bee", "cat")


def pieces(per_group: int = 4) -> list[str]:
    return [f"{group}/{number}" for group in GROUPS for number in range(per_group)]


def how(done: Path) -> HowToShare[str]:
    return HowToShare(
        key=lambda piece: piece,
        affinity=lambda piece: (piece.split("/")[0],),
        is_done=lambda piece: (done / piece.replace("/", "-")).exists(),
    )


def finish(done: Path, piece: str) -> None:
    done.mkdir(exist_ok=True)
    (done / piece.replace("/", "-")).touch()


def test_alone_a_worker_does_all_in_order(tmp_path: Path) -> None:
    with Leases(tmp_path / "leases") as leases:
        taken = []
        for piece in SharedWork(pieces(), how(tmp_path), leases).take():
            taken.append(piece)
            finish(tmp_path, piece)
    assert taken == pieces()


def test_each_goes_on_with_its_group_and_the_next_takes_another(tmp_path: Path) -> None:
    taken = []
    with Leases(tmp_path / "leases") as a, Leases(tmp_path / "leases") as b:
        one, other = (SharedWork(pieces(2), how(tmp_path / "done"), leases).take() for leases in (a, b))
        for worker in (one, other, one, other, one, other):
            taken.append(next(worker))
            finish(tmp_path / "done", taken[-1])
        one.close()
        other.close()
    assert taken == ["ant/0", "bee/0", "ant/1", "bee/1", "cat/0", "cat/1"]


def test_what_others_have_done_meanwhile_is_not_done_again(tmp_path: Path) -> None:
    with Leases(tmp_path / "leases") as leases:
        shared = SharedWork(pieces(), how(tmp_path / "done"), leases)
        taking = shared.take()
        assert next(taking) == "ant/0"
        for piece in pieces()[1:-1]:
            finish(tmp_path / "done", piece)
        assert next(taking) == "cat/3"
        assert shared.left() == []
        assert list(taking) == []


def test_the_piece_in_hand_does_not_count_as_left(tmp_path: Path) -> None:
    with Leases(tmp_path / "leases") as leases:
        shared = SharedWork(pieces(2), how(tmp_path), leases)
        assert [len(shared.left()) for _ in shared.take()] == [5, 4, 3, 2, 1, 0]


def test_a_group_that_cannot_be_done_is_left_alone(tmp_path: Path) -> None:
    with Leases(tmp_path / "leases") as leases:
        shared = SharedWork(pieces(), how(tmp_path), leases)
        taken = []
        for piece in shared.take():
            taken.append(piece)
            if piece.startswith("bee"):
                shared.drop_group_of(piece)
    assert taken == [*pieces()[:5], *pieces()[8:]]


def test_an_error_gives_the_piece_back(tmp_path: Path) -> None:
    with Leases(tmp_path / "leases") as leases, pytest.raises(ValueError, match="in the middle"):
        for _ in SharedWork(pieces(), how(tmp_path), leases).take():
            raise ValueError("in the middle")
    assert list(tmp_path.iterdir()) == []


def test_while_waiting_a_stop_is_heard(tmp_path: Path) -> None:
    calls = Counter[str]()

    def stop_at_the_third() -> None:
        calls["asked"] += 1
        if calls["asked"] == 3:
            raise KeyboardInterrupt

    with Leases(tmp_path / "leases") as a, Leases(tmp_path / "leases") as b:
        for piece in pieces():
            assert a.claim(piece) is not None
        with pytest.raises(KeyboardInterrupt):
            next(SharedWork(pieces(), how(tmp_path), b).take(stop_at_the_third))


def work(folder: Path, name: int, seconds: float, dies_at: int | None, all_are_here: Barrier) -> None:
    """A worker that says what it has done; one of them dies with a piece in hand."""
    all_are_here.wait()
    with Leases(folder / "leases", 0.6) as leases:
        for count, piece in enumerate(SharedWork(pieces(10), how(folder / "done"), leases).take()):
            if count == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(seconds)
            with (folder / f"{name}.log").open("a") as file:
                file.write(f"{piece}\n")
            finish(folder / "done", piece)


def test_with_one_slow_and_one_lost_worker_each_piece_is_done_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    slow, lost = (tmp_path, 0, 2.0, None, start), (tmp_path, 1, 0.02, 1, start)
    others = [(tmp_path, name, 0.02, None, start) for name in (2, 3)]
    workers = [context.Process(target=work, args=each) for each in (slow, lost, *others)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, -signal.SIGKILL, 0, 0]
    done = Counter(line for log in tmp_path.glob("*.log") for line in log.read_text().splitlines())
    assert done == Counter(pieces(10))
    assert len((tmp_path / "0.log").read_text().splitlines()) <= 4, "the slow one holds little up"
    assert not (tmp_path / "leases").exists()
