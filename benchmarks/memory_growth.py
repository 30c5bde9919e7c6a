"""Whether phase 1's peak memory grows with the number of organisms or of prompts."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.cut_down import cut_down
from benchmarks.fresh_process import measure_phase
from benchmarks.jobs import Job
from benchmarks.our_phases import PHASE_FUNCTIONS
from interp.config import Experiment
from interp.files import read_json, write_json
from interp.records import Record


class Peak(Record):
    """Phase 1's peak above the imports, for so many organisms and prompts each."""

    organisms: int
    prompts: int
    batch_size: int
    peak_bytes: int


def measure_growth(
    source: Experiment, sizes: Sequence[tuple[int, int]], batch_size: int, threads: int
) -> Iterator[Peak]:
    """The peak for each (organisms, prompts); the batch is so small that even the fewest prompts fill it."""
    for organisms, prompts in sizes:
        with tempfile.TemporaryDirectory() as name:
            small = cut_down(source, Path(name), organisms, prompts, threads)
            config = read_json(small.paths.config)
            write_json(small.paths.config, {**config, "batch_size": batch_size})
            report = measure_phase(PHASE_FUNCTIONS["generate"], Job(Path(name), small.name, threads))
        yield Peak(organisms=organisms, prompts=prompts, batch_size=batch_size, peak_bytes=report.peak_bytes)
