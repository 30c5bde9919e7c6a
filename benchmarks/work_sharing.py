"""What sharing a work list costs: workers with leases beside workers with static shards, in one run, without a model.

A unit of work is a sleep and an empty file. Both sides do the same units in the same way, taking turns; they differ
only in how a worker comes to its next unit. Then: claims a second, and how soon a lost worker's unit is taken over.

Reads   nothing. Works in a temporary folder.
Writes  the page of results, to FILE where --out is given, and to standard output

Example: python -m benchmarks.work_sharing --out benchmarks/results/work_sharing_2026-11-21_2cores-intel-xeon.md
         python -m benchmarks.work_sharing --units 112 --unit-seconds 0.001 --processes 4 --seconds 0.2
"""

import argparse
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

from benchmarks.machine import this_machine
from benchmarks.tables import machine_lines, table
from interp import cli
from interp.files import write_text
from interp.leases import Leases
from interp.sharing import HowToShare, SharedWork

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

GROUPS = 56
GOAL_SHARE = 0.01
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


# --- The page ---------------------------------------------------------------------------------------------------------


def scaling_section(args: argparse.Namespace) -> str:
    """Ours beside static shards, for each number of workers, the first side changing each time."""
    pairs: dict[int, tuple[Side, Side]] = {}
    for number, n_workers in enumerate(args.workers):
        sides = {}
        for ours in (True, False) if number % 2 else (False, True):
            n_units = args.units if ours else args.baseline_units or args.units
            sides[ours] = measure_side(ours, n_workers, n_units, args.unit_seconds)
        pairs[n_workers] = sides[True], sides[False]
    rows = [_scaling_row(n_workers, pair, pairs[args.workers[0]]) for n_workers, pair in pairs.items()]
    return "\n\n".join(["## Scaling", _scaling_words(args), table(_SCALING, rows), _verdict(pairs)])


_SCALING = (
    "workers", "units", "seconds", "units/s", "units/s, static shards", "ours ÷ static", "speed-up",
    "speed-up, static", "claims", "waiting", "all but units", "the same, static", "CPU ms a unit",
    "CPU ms a unit, static", "done twice",
)  # fmt: skip


def _scaling_row(n_workers: int, pair: tuple[Side, Side], first: tuple[Side, Side]) -> list[str]:
    ours, static = pair
    speed_ups = [side.rate / alone.rate for side, alone in zip(pair, first, strict=True)]
    return [
        f"{n_workers}", f"{ours.units}", f"{ours.wall:.2f}", f"{ours.rate:.2f}", f"{static.rate:.2f}",
        f"{ours.rate / static.rate:.4f}", *(f"{value:.3f}" for value in speed_ups),
        f"{ours.share(_claiming):.2%}", f"{ours.share(_waiting):.2%}",
        *(f"{side.share(_overhead):.2%}" for side in pair), *(f"{side.cpu_per_unit * 1000:.3f}" for side in pair),
        f"{ours.twice}",
    ]  # fmt: skip


def _claiming(worker: Worker) -> float:
    return worker.claiming


def _waiting(worker: Worker) -> float:
    return worker.waiting


def _overhead(worker: Worker) -> float:
    return worker.wall - worker.busy


def _scaling_words(args: argparse.Namespace) -> str:
    static = args.baseline_units or args.units
    return (
        f"{args.units} units in {GROUPS} groups; a unit sleeps {args.unit_seconds * 1000:g} ms and makes an empty "
        f"file. Static shards did {static} units each time, so the sides are compared by units a second. *claims* and "
        "*waiting* are what `SharedWork.spent` says; *all but units* is measured around it and has releases, entering "
        "and leaving in it too. Shares are of the workers' time, summed. The speed-up is against the first row."
    )


def _verdict(pairs: dict[int, tuple[Side, Side]]) -> str:
    worst = max(ours.share(lambda each: each.claiming + each.waiting) for ours, _ in pairs.values())
    whole = max(ours.share(_overhead) for ours, _ in pairs.values())
    met = "reached" if worst < GOAL_SHARE else "not reached"
    return f"Goal: claims and waiting under {GOAL_SHARE:.0%}. At most {worst:.2%}, {met}; all but units: {whole:.2%}."


def claims_section(args: argparse.Namespace) -> str:
    """A long list, as in an audit, and one with a key for each process, over which they quarrel."""
    cases = [(1, args.units), (args.processes, args.units), (args.processes, args.processes)]
    rows = [_claims_row(*case, args.seconds) for case in cases]
    words = (
        f"Processes claim and release random keys of one list for {args.seconds:g} s each. The baseline creates a file "
        "with `O_EXCL` and removes it, which tells nobody whether its maker still lives."
    )
    header = ["processes", "keys", "claims/s", "failed", "plain files/s", "failed", "ours ÷ plain"]
    return "\n\n".join(["## Claims a second", words, table(header, rows)])


def _claims_row(n_processes: int, n_keys: int, seconds: float) -> list[str]:
    plain, ours = (measure_claims(side, n_processes, n_keys, seconds) for side in (False, True))
    cells = [cell for each in (ours, plain) for cell in (f"{each.taken / each.seconds:.0f}", _failed(each))]
    ratio = (ours.taken / ours.seconds) / (plain.taken / plain.seconds)
    return [f"{n_processes}", f"{n_keys}", *cells, f"{ratio:.3f}"]


def _failed(attempts: Attempts) -> str:
    return f"{attempts.failed} ({attempts.failed / (attempts.taken + attempts.failed):.2%})"


def takeover_section(args: argparse.Namespace) -> str:
    cases = [(signal.SIGKILL, "killed, same machine", 180.0), (signal.SIGSTOP, "silent", args.lease_seconds)]
    rows = []
    for how_lost, words, lease_seconds in cases:
        log.info("taking over: %s", words)
        rows.append([words, f"{lease_seconds:g}", f"{measure_takeover(how_lost, lease_seconds):.3f}"])
    header = ["the lost worker is", "lease seconds", "seconds until another has its unit"]
    return "\n\n".join(["## Taking over", "The other worker waits for this unit alone.", table(header, rows)])


def measure(args: argparse.Namespace) -> str:
    """The whole page."""
    machine = this_machine(1, None)
    sections = [scaling_section(args), claims_section(args), takeover_section(args)]
    loads = f"{machine_lines(machine)} After the last: {os.getloadavg()[0]:.2f} (this benchmark itself counts)."
    disk = "All workers on this one machine, on its local temporary folder: a network file system costs more."
    return "\n\n".join(["# Sharing a work list beside static shards", loads, disk, *sections]) + "\n"


def _counts(text: str) -> list[int]:
    return [cli.positive(name) for name in cli.names(text)]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    number, seconds = cli.positive, cli.seconds_argument
    parser.add_argument("--units", type=number, default=15_400, help="length of the work list (default: 15400)")
    parser.add_argument("--baseline-units", type=number, help="units of the static shards (default: as --units)")
    parser.add_argument("--unit-seconds", type=seconds, default=0.02, help="a unit sleeps so long (default: 0.02)")
    parser.add_argument("--workers", type=_counts, default=[1, 2, 4], help="numbers of workers (default: 1,2,4)")
    parser.add_argument("--processes", type=number, default=64, help="that claim at one time (default: 64)")
    parser.add_argument("--seconds", type=seconds, default=5.0, help="of claiming, for each row (default: 5)")
    parser.add_argument("--lease-seconds", type=seconds, default=3.0, help="of the silent worker (default: 3)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page there too (default: print only)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    page = measure(args)
    if args.out is not None:
        write_text(args.out, page)
    print(page)
    return 0


if __name__ == "__main__":
    cli.run(main)
