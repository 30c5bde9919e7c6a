"""The overnight audit beside a plain baseline, in one run: time, disk, memory, and whether both find the same.

Reads   an experiment with config, prompt sets, base model and adapters (the embedded default where none is named);
        trait vectors are extracted first where there are none. Works on cut-down copies in a temporary folder.
Writes  <output>/overnight_<date>_<machine>.md and .json

Example: python -m benchmarks.overnight --organisms 4 --prompts 275
         python -m benchmarks.overnight --tiny --output /tmp/results
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import our_phases
from benchmarks.comparison import Comparison, compare_sides
from benchmarks.cut_down import cut_down
from benchmarks.forced_pass import ForcedPass, Subject, measure_forced_pass
from benchmarks.fresh_process import in_fresh_process, measure_phase
from benchmarks.jobs import Job
from benchmarks.machine import Machine, gpu_name, this_machine
from benchmarks.memory_growth import Peak, measure_growth
from benchmarks.report import write_report
from experiments.planted_quirks import build
from experiments.planted_quirks.recipe import make_recipe
from interp import cli
from interp.config import Experiment
from interp.paths import default_root
from interp.records import Record

log = logging.getLogger(__name__)

BIGGER_LLAMA = {
    "vocab_size": 4096,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
"""Random weights: so wide that Python does not count, so small that a CPU passes over it in a second."""


@dataclass(frozen=True)
class Scale:
    """How much is measured. `growth`: (organisms, prompts) of the memory series; `batch`: rows × tokens."""

    organisms: int = 4
    prompts: int = 275
    repeats: int = 3
    growth: tuple[tuple[int, int], ...] = ((2, 40), (8, 40), (2, 160), (8, 160))
    growth_batch: int = 6
    batch: tuple[int, int] = (64, 64)
    bigger_batch: tuple[int, int] = (8, 128)
    forced_repeats: int = 25


TINY = Scale(
    organisms=2, prompts=14, repeats=1, growth=((1, 8), (2, 8)), growth_batch=1,
    batch=(4, 16), bigger_batch=(1, 8), forced_repeats=3,
)


class Result(Record):
    """Everything that was measured."""

    experiment: str
    machine: Machine
    comparison: Comparison
    forced_passes: tuple[ForcedPass, ...]
    growth: tuple[Peak, ...]


def measure(experiment: Experiment, scale: Scale, threads: int, only: Sequence[str]) -> Result:
    """All the tables, one after another."""
    machine = this_machine(threads, in_fresh_process(threads, gpu_name))
    with tempfile.TemporaryDirectory(prefix="overnight_benchmark_") as name:
        scratch = Path(name)
        whole = _with_vectors(experiment, scratch / "whole", threads)
        small = cut_down(whole, scratch / "small", scale.organisms, scale.prompts, threads)
        comparison = compare_sides(small, scratch, scale.repeats, threads, log.info)
        forced = [_forced_pass(subject, threads) for subject in _subjects(small, scale)]
        growth = tuple(measure_growth(whole, scale.growth, scale.growth_batch, threads))
    return Result(
        experiment=experiment.name, machine=machine, comparison=comparison, forced_passes=tuple(forced), growth=growth
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    scale = _scale(args)
    experiment = _experiment(args)
    result = measure(experiment, scale, args.threads)
    print(write_report(result, args.output).read_text())
    return 0


if __name__ == "__main__":
    cli.run(main)
