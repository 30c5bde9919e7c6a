"""Workers that share a work list, side by side with workers of static shards; claims a second; taking over.

A unit of work is a sleep and an empty file. Both sides do the same units in the same way; they differ only in how a
worker comes to its next unit.
"""

import logging
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from interp.leases import Leases
from interp.sharing import HowToShare, SharedWork

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

GROUPS = 56
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Worker:
    """What one worker did, in seconds; `busy` is within units, `claiming` and `waiting` are its own count."""

    units: int
    twice: int
    wall: float
    busy: float
    cpu: float
    claiming: float = 0.0
    waiting: float = 0.0


@dataclass(frozen=True)
class Side:
    """All workers of one side; `wall` is from their common start to the end of the last."""

    wall: float
    workers: tuple[Worker, ...]

    @property
    def units(self) -> int:
        return sum(worker.units for worker in self.workers)

    @property
    def twice(self) -> int:
        return sum(worker.twice for worker in self.workers)

    @property
    def rate(self) -> float:
        return self.units / self.wall

    @property
    def cpu_per_unit(self) -> float:
        return sum(worker.cpu for worker in self.workers) / self.units

    def share(self, read: Callable[[Worker], float]) -> float:
        """Of the workers' time, all together."""
        return sum(map(read, self.workers)) / sum(worker.wall for worker in self.workers)


@dataclass(frozen=True)
class Attempts:
    """How many claims succeeded and failed, within `seconds`."""

    taken: int
    failed: int
    seconds: float


# --- Processes that begin together ------------------------------------------------------------------------------------


def together(tasks: Sequence[Callable[[Callable[[], None]], Answer]]) -> list[Answer]:
    """Each task in a process of its own; what it is given waits until all of them have come so far."""
    barrier, pipes = _FORK.Barrier(len(tasks)), [_FORK.Pipe(duplex=False) for _ in tasks]
    processes = [
        _FORK.Process(target=_answer, args=(task, barrier, sender))
        for task, (_, sender) in zip(tasks, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    answers: list[Answer] = [receiver.recv() for receiver, _ in pipes]
    for process in processes:
        process.join()
    return answers


def _answer(task: Callable[[Callable[[], None]], object], barrier: Any, sender: Any) -> None:
    sender.send(task(barrier.wait))


# --- Scaling ----------------------------------------------------------------------------------------------------------


def unit_names(count: int) -> list[str]:
    """`group/number`, in 56 groups of nearly the same size."""
    return sorted(f"{number % GROUPS:02d}/{number // GROUPS:04d}" for number in range(count))


def work_shared(units: Sequence[str], seconds: float, folder: Path, wait: Callable[[], None]) -> Worker:
    """One worker of ours, from entering the list to leaving it."""
    how = HowToShare[str](
        key=lambda unit: unit,
        affinity=lambda unit: (unit.split("/")[0],),
        is_done=lambda unit: (folder / "done" / unit).exists(),
    )
    wait()
    started, cpu = time.monotonic(), time.process_time()
    with Leases(folder / "leases") as leases:
        shared = SharedWork(units, how, leases)
        did = _do_all(shared.take(), seconds, folder / "done")
    wall, cpu = time.monotonic() - started, time.process_time() - cpu
    return Worker(did.units, did.twice, wall, did.busy, cpu, shared.spent.claiming, shared.spent.waiting)


def work_shard(units: Sequence[str], seconds: float, folder: Path, wait: Callable[[], None]) -> Worker:
    """One worker of the baseline: its units are its own, nobody is asked."""
    wait()
    started, cpu = time.monotonic(), time.process_time()
    did = _do_all(units, seconds, folder / "done")
    return Worker(did.units, did.twice, time.monotonic() - started, did.busy, time.process_time() - cpu)


@dataclass
class _Done:
    units: int = 0
    twice: int = 0
    busy: float = 0.0


def _do_all(units: Iterable[str], seconds: float, done: Path) -> _Done:
    """A sleep, then the output; that it is there already means that two workers did this unit."""
    did = _Done()
    for unit in units:
        started = time.monotonic()
        time.sleep(seconds)
        try:
            (done / unit).touch(exist_ok=False)
        except FileExistsError:
            did.twice += 1
        did.units += 1
        did.busy += time.monotonic() - started
    return did


def measure_side(ours: bool, n_workers: int, n_units: int, seconds: float) -> Side:
    """All units by so many workers, in a fresh folder."""
    units, kind = unit_names(n_units), "leases" if ours else "static shards"
    log.info("%d units, %d workers, %s", n_units, n_workers, kind)
    with _work_folder(units) as folder:
        if ours:
            tasks = [partial(work_shared, units, seconds, folder)] * n_workers
        else:
            tasks = [partial(work_shard, units[each::n_workers], seconds, folder) for each in range(n_workers)]
        workers = together(tasks)
        made = sum(1 for _ in (folder / "done").glob("*/*"))
    side = Side(max(worker.wall for worker in workers), tuple(workers))
    if made != n_units or side.units != n_units + side.twice:
        raise RuntimeError(f"{made} of {n_units} outputs are there; {side.units} units were done, {side.twice} twice")
    return side


@contextmanager
def _work_folder(units: Iterable[str]) -> Generator[Path, None, None]:
    with tempfile.TemporaryDirectory(prefix="work_sharing_") as name:
        for group in {unit.split("/")[0] for unit in units}:
            (Path(name) / "done" / group).mkdir(parents=True)
        yield Path(name)


# --- Claims a second --------------------------------------------------------------------------------------------------


def claim_leases(folder: Path, keys: Sequence[str], seconds: float, wait: Callable[[], None]) -> Attempts:
    """Claim and release, as fast as it goes."""
    with Leases(folder / "leases") as leases:
        wait()
        answer = _attempt(partial(_claim_once, leases), keys, seconds)
        wait()  # who leaves early must not remove what the others work in
    return answer


def _claim_once(leases: Leases, key: str) -> bool:
    lease = leases.claim(key)
    if lease is not None:
        leases.release(lease)
    return lease is not None


def claim_plainly(folder: Path, keys: Sequence[str], seconds: float, wait: Callable[[], None]) -> Attempts:
    """The baseline: an exclusive file made and removed. Nobody could tell whether who made it still lives."""
    wait()
    return _attempt(partial(_create_once, folder), keys, seconds)


def _create_once(folder: Path, key: str) -> bool:
    path = folder / key
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    path.unlink()
    return True


def _attempt(claim: Callable[[str], bool], keys: Sequence[str], seconds: float) -> Attempts:
    draw, started = random.Random(os.getpid()), time.monotonic()
    taken = failed = 0
    while time.monotonic() - started < seconds:
        if claim(draw.choice(keys)):
            taken += 1
        else:
            failed += 1
    return Attempts(taken, failed, time.monotonic() - started)


def measure_claims(ours: bool, n_processes: int, n_keys: int, seconds: float) -> Attempts:
    """By all processes together, each drawing from the same keys."""
    log.info("claims: %d processes, %d keys, %s", n_processes, n_keys, "leases" if ours else "plain files")
    keys = [f"key-{number}" for number in range(n_keys)]
    with tempfile.TemporaryDirectory(prefix="work_sharing_") as name:
        found = together([partial(claim_leases if ours else claim_plainly, Path(name), keys, seconds)] * n_processes)
    taken, failed = sum(each.taken for each in found), sum(each.failed for each in found)
    return Attempts(taken, failed, max(each.seconds for each in found))


# --- Taking over ------------------------------------------------------------------------------------------------------


def measure_takeover(how_lost: signal.Signals, lease_seconds: float) -> float:
    """Seconds from when a worker is killed (or stopped: it falls silent) until another one has its only unit."""
    with _work_folder(["00/0000"]) as folder:
        receiver, sender = _FORK.Pipe(duplex=False)
        lost = _FORK.Process(target=_hold, args=(folder, lease_seconds, sender))
        lost.start()
        receiver.recv()
        how = HowToShare[str](key=lambda unit: unit, affinity=lambda _: (), is_done=lambda _: False)
        with Leases(folder / "leases", lease_seconds) as leases:
            os.kill(lost.pid or 0, how_lost)
            started = time.monotonic()
            for _ in SharedWork(["00/0000"], how, leases).take():
                latency = time.monotonic() - started
        lost.kill()
        lost.join()
    return latency


def _hold(folder: Path, lease_seconds: float, sender: Any) -> None:
    with Leases(folder / "leases", lease_seconds) as leases:
        sender.send(leases.claim("00/0000") is not None)
        time.sleep(3600)
