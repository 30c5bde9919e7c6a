"""Both sides of the audit, phase by phase, next to each other, and what each row of the table adds up."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from benchmarks import our_phases, plain_baseline
from benchmarks.agreement import Agreement, compare
from benchmarks.fresh_process import measure_phase
from benchmarks.jobs import PHASES, Job, PhaseFunction, PhaseName, PhaseReport
from benchmarks.stopwatch import OTHER, Cost
from interp.config import Experiment
from interp.records import Record

SideName = Literal["baseline", "ours"]
SIDES: dict[SideName, dict[PhaseName, PhaseFunction]] = {
    "baseline": plain_baseline.PHASE_FUNCTIONS,
    "ours": our_phases.PHASE_FUNCTIONS,
}


class SideRun(Record):
    """One audit by one side.

    Attributes:
        bytes: what it left on disk, by kind of file.
        commands: how many it is run as.
        starts: what starting all of them costs, from the starts that were measured before and after the repeat.
    """

    phases: dict[PhaseName, PhaseReport]
    bytes: dict[str, int]
    commands: int
    starts: Cost

    @property
    def peak_bytes(self) -> int:
        return max(report.peak_bytes for report in self.phases.values())

    @property
    def gpu_peak_bytes(self) -> int:
        return max(report.gpu_peak_bytes for report in self.phases.values())


class Comparison(Record):
    """Several repeats of both sides; `agreement` is that of the last."""

    organisms: tuple[str, ...]
    prompts: dict[str, int]
    batch_size: int
    layers: tuple[int, ...]
    vectors: int
    repeats: tuple[dict[SideName, SideRun], ...]
    agreement: Agreement


def _sum_of(*parts: tuple[PhaseName, Sequence[str]]) -> Callable[[SideRun], Cost]:
    def add(run: SideRun) -> Cost:
        return sum((run.phases[phase].stage(stage) for phase, stages in parts for stage in stages), Cost())

    return add


def whole(run: SideRun) -> Cost:
    """The three phases, from the first line of each to its last."""
    return sum((report.total for report in run.phases.values()), Cost())


generation_and_capture = _sum_of(("generate", ["generation", "capture"]))
"""Together, since the baseline captures while it decodes."""

def with_starts(run: SideRun) -> Cost:
    """The whole audit and the starting of its commands."""
    return whole(run) + run.starts


STAGES: dict[str, Callable[[SideRun], Cost]] = {
    "load + swap": _sum_of(("generate", ["load"]), ("replay", ["load"])),
    "generation": _sum_of(("generate", ["generation"])),
    "capture (own answers)": _sum_of(("generate", ["capture"])),
    "replay (clean reader)": _sum_of(("replay", ["replay"])),
    "writing files": _sum_of(("generate", ["writing"]), ("replay", ["writing"])),
    "projection": lambda run: run.phases["project"].total,
    "other": _sum_of(("generate", [OTHER]), ("replay", [OTHER])),
}
"""Rows that add up to the whole audit."""


def compare_sides(
    small: Experiment, scratch: Path, repeats: int, threads: int, say: Callable[[str], None]
) -> Comparison:
    """Run both sides `repeats` times on fresh copies of `small`, phase by phase, the first side changing each time."""
    runs: list[dict[SideName, SideRun]] = []
    for repeat in range(repeats):
        jobs = {side: _copied(small, scratch / f"{side}_{repeat}", threads) for side in SIDES}
        runs.append(_run_interleaved(jobs, repeat, say))
        if repeat < repeats - 1:
            for job in jobs.values():
                shutil.rmtree(job.root)
    prompt_sets = {name: len(small.prompt_set(name).prompts) for name in small.config.prompt_sets}
    return Comparison(
        organisms=tuple(small.audited),
        prompts=prompt_sets,
        batch_size=small.config.batch_size,
        layers=small.config.layers,
        vectors=len(list(small.paths.vectors.glob("*/*.safetensors"))),
        repeats=tuple(runs),
        agreement=compare(jobs["baseline"], jobs["ours"]),
    )


def _run_interleaved(jobs: dict[SideName, Job], repeat: int, say: Callable[[str], None]) -> dict[SideName, SideRun]:
    order: list[SideName] = ["baseline", "ours"] if repeat % 2 == 0 else ["ours", "baseline"]
    reports: dict[SideName, dict[PhaseName, PhaseReport]] = {side: {} for side in order}
    before = process_start()
    for phase in PHASES:
        for side in order:
            report = measure_phase(SIDES[side][phase], jobs[side])
            say(f"repeat {repeat + 1}, {phase}, {side}: {report.total.wall:.2f} s ({report.total.cpu:.2f} s of CPU)")
            reports[side][phase] = report
    twice = before + process_start()
    commands = {"baseline": plain_baseline.count_commands(jobs["baseline"]), "ours": len(PHASES)}
    return {
        side: SideRun(
            phases=reports[side],
            bytes=_bytes_by_kind(jobs[side]),
            commands=commands[side],
            starts=twice * (commands[side] / 2),
        )
        for side in order
    }


def _copied(small: Experiment, root: Path, threads: int) -> Job:
    shutil.copytree(small.paths.folder, root / small.name)
    return Job(root, small.name, threads)


def _bytes_by_kind(job: Job) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in _files(job.folder / "inference"):
        kind = next((kind for kind in ("responses", "projections") if kind in path.parts), "activations")
        found[kind] = found.get(kind, 0) + path.stat().st_size
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def process_start() -> Cost:
    """What a command costs before its first line: the interpreter and the imports."""
    start = time.perf_counter()
    program = "import torch, peft, transformers.models.llama.modeling_llama, time; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return Cost(wall=time.perf_counter() - start, cpu=float(done.stdout))
