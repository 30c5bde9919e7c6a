"""What a measured process is given and what it reports."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.stopwatch import Cost, Stopwatch
from interp.records import Record

PhaseName = Literal["generate", "replay", "project"]
PHASES: tuple[PhaseName, ...] = ("generate", "replay", "project")


@dataclass(frozen=True)
class Job:
    """An experiment in a folder of its own, and how a side is to work on it."""

    root: Path
    experiment: str
    threads: int

    @property
    def folder(self) -> Path:
        return self.root / self.experiment


class PhaseReport(Record):
    """What a phase took. `peak_bytes`: largest resident memory above that of a process that has only imported."""

    stages: dict[str, Cost]
    peak_bytes: int
    gpu_peak_bytes: int

    @property
    def total(self) -> Cost:
        return sum(self.stages.values(), Cost())

    def stage(self, name: str) -> Cost:
        return self.stages.get(name, Cost())


PhaseFunction = Callable[[Job, Stopwatch], None]
"""A side's phase: does the job and charges its stages (load, generation, capture, replay, writing, projection)."""
