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
import os
import signal
from collections.abc import Sequence
from operator import attrgetter

from benchmarks.machine import this_machine
from benchmarks.pages import counts, page_option, publish
from benchmarks.sharing_sides import (
    GROUPS,
    Attempts,
    Side,
    Worker,
    measure_claims,
    measure_side,
    measure_takeover,
)
from benchmarks.tables import machine_lines, table
from interp import cli

log = logging.getLogger(__name__)

GOAL_SHARE = 0.01


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
        f"{ours.share(attrgetter('claiming')):.2%}", f"{ours.share(attrgetter('waiting')):.2%}",
        *(f"{side.share(_overhead):.2%}" for side in pair), *(f"{side.cpu_per_unit * 1000:.3f}" for side in pair),
        f"{ours.twice}",
    ]  # fmt: skip


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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[page_option()]
    )
    number, seconds = cli.positive, cli.seconds_argument
    parser.add_argument("--units", type=number, default=15_400, help="length of the work list (default: 15400)")
    parser.add_argument("--baseline-units", type=number, help="units of the static shards (default: as --units)")
    parser.add_argument("--unit-seconds", type=seconds, default=0.02, help="a unit sleeps so long (default: 0.02)")
    parser.add_argument("--workers", type=counts, default=[1, 2, 4], help="numbers of workers (default: 1,2,4)")
    parser.add_argument("--processes", type=number, default=64, help="that claim at one time (default: 64)")
    parser.add_argument("--seconds", type=seconds, default=5.0, help="of claiming, for each row (default: 5)")
    parser.add_argument("--lease-seconds", type=seconds, default=3.0, help="of the silent worker (default: 3)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    page = measure(args)
    publish(page, args.out)
    return 0


if __name__ == "__main__":
    cli.run(main)
