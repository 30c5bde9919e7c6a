"""The overnight audit beside a plain baseline, in one run: time, disk, memory, and whether both find the same.

Reads   an experiment with config, prompt sets, base model and adapters (the embedded default where none is named);
        trait vectors are extracted first where there are none. Works on cut-down copies in a temporary folder.
Writes  <output>/overnight_<date>_<machine>.md and .json

Example: python -m benchmarks.overnight --organisms 4 --prompts 275
         python -m benchmarks.overnight --tiny --output /tmp/results
"""

import argparse
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import our_phases
from benchmarks.comparison import compare_sides
from benchmarks.cut_down import cut_down
from benchmarks.forced_pass import ForcedPass, Subject, measure_forced_pass
from benchmarks.fresh_process import in_fresh_process, measure_phase
from benchmarks.jobs import Job
from benchmarks.machine import gpu_name, this_machine
from benchmarks.memory_growth import measure_growth
from benchmarks.report import Result, write_report
from experiments.planted_quirks import build
from experiments.planted_quirks.recipe import make_recipe
from interp import cli
from interp.config import Experiment
from interp.paths import default_root

log = logging.getLogger(__name__)

_RESULTS = Path(__file__).parent / "results"

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
    """How much is measured. `growth`: (organisms, times that `growth_prompts` are asked); `batch`: rows × tokens."""

    organisms: int = 4
    prompts: int = 275
    repeats: int = 3
    growth: tuple[tuple[int, int], ...] = ((2, 1), (8, 1), (2, 4), (8, 4), (8, 16))
    growth_prompts: int = 40
    growth_batch: int = 6
    batch: tuple[int, int] = (64, 64)
    bigger_batch: tuple[int, int] = (8, 128)
    forced_repeats: int = 25


TINY = Scale(
    organisms=2, prompts=14, repeats=1, growth=((1, 1), (2, 2)), growth_prompts=4, growth_batch=2,
    batch=(4, 16), bigger_batch=(1, 8), forced_repeats=3,
)


def measure(experiment: Experiment, scale: Scale, threads: int) -> Result:
    """All the tables, one after another."""
    machine = this_machine(threads, in_fresh_process(threads, gpu_name))
    with tempfile.TemporaryDirectory(prefix="overnight_benchmark_") as name:
        scratch = Path(name)
        whole = _with_vectors(experiment, scratch / "whole", threads)
        small = cut_down(whole, scratch / "small", scale.organisms, scale.prompts, threads)
        comparison = compare_sides(small, scratch, scale.repeats, threads, log.info)
        forced = tuple(_forced_pass(subject, threads) for subject in _subjects(small, scale))
        growth = tuple(measure_growth(whole, scale.growth_prompts, scale.growth, scale.growth_batch, threads))
    return Result(
        experiment=experiment.name,
        machine=machine,
        load_later=os.getloadavg()[0],
        comparison=comparison,
        forced_passes=forced,
        growth=growth,
    )


def _with_vectors(experiment: Experiment, root: Path, threads: int) -> Experiment:
    """A copy of the whole experiment that has trait vectors."""
    n_prompts = sum(len(prompt_set.prompts) for prompt_set in experiment.select_prompt_sets(None))
    copy = cut_down(experiment, root, len(experiment.audited), n_prompts, threads)
    if not copy.paths.vectors.is_dir():
        measure_phase(our_phases.extract_vectors, Job(root, copy.name, threads))
    return copy


def _subjects(experiment: Experiment, scale: Scale) -> list[Subject]:
    """The experiment's own clean model, and a bigger random one."""
    spec, layers = experiment.base_spec(experiment.config.clean_reader), tuple(experiment.config.layers)
    own = Subject("The experiment's model", spec, layers, *scale.batch, repeats=scale.forced_repeats)
    bigger = replace(
        own, label="A bigger random Llama", layers=(3, 5, 7, 9), rows=scale.bigger_batch[0],
        width=scale.bigger_batch[1], shape=BIGGER_LLAMA,
    )
    return [own, bigger]


def _forced_pass(subject: Subject, threads: int) -> ForcedPass:
    log.info("forced pass: %s", subject.label)
    return in_fresh_process(threads, measure_forced_pass, subject)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", help="folder of config.json (default: the embedded default)")
    parser.add_argument("--root", type=Path, default=default_root(), help="default: $INTERP_ROOT or experiments/")
    parser.add_argument("--organisms", type=int, help=f"organisms and shams (default: {Scale.organisms})")
    parser.add_argument("--prompts", type=int, help=f"prompts for each, all sets together (default: {Scale.prompts})")
    parser.add_argument("--repeats", type=int, help=f"of the side-by-side comparison (default: {Scale.repeats})")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of both sides (default: 1)")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="folder (default: benchmarks/results)")
    parser.add_argument("--tiny", action="store_true", help="build and measure a toy in seconds: tests the benchmark")
    return parser


def _scale(args: argparse.Namespace) -> Scale:
    given = {name: getattr(args, name) for name in ("organisms", "prompts", "repeats")}
    chosen = TINY if args.tiny else Scale()
    return replace(chosen, **{name: value for name, value in given.items() if value is not None})


def _experiment(args: argparse.Namespace) -> Experiment:
    """The named experiment, or the embedded default (with --tiny its tiny preset, built where it is not there)."""
    if args.experiment:
        return Experiment(args.experiment, args.root)
    preset = "tiny" if args.tiny else "default"
    if args.tiny:
        build.main(["--preset", preset, "--root", str(args.root)])
    return Experiment(make_recipe(preset).folder_name, args.root)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    result = measure(_experiment(args), _scale(args), args.threads)
    print(write_report(result, args.output).read_text())
    return 0


if __name__ == "__main__":
    cli.run(main)
