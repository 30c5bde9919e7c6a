"""Before the night: what the audit will do, what it costs, and everything that is missing, in one go.

Reads   config, prompt sets, trait vectors, and (where they can be reached) model and adapter configs.
Prints  the plan with its arithmetic, then every problem. Exit status 0 only when nothing is missing.

`--measure` also loads the model, verifies that hooks see and change what they should, and times a batch, unless phases
1 and 2 have nothing left to do. `--sbatch` prints, for every step with work left, the options of its cluster job.

Example: python inference/preflight.py --experiment audit-bleachers --response-only
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from inference.checks import Findings, check_adapters, check_disk, check_model, check_vectors
from inference.extract_trait_vectors import METHOD_NAMES
from inference.job_sizes import JobSize, Machine, job_sizes
from inference.options import capture_options, model_phase_parser, read_capture_options, read_experiment
from inference.plan import Plan, make_plan
from inference.status import author_status
from inference.units import CaptureOptions, plan_units
from inference.vector_files import VectorFile
from inference.work_left import work_left
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import human_bytes
from interp.vector_store import list_vectors

log = logging.getLogger(__name__)


def print_plan(experiment: Experiment, plan: Plan) -> None:
    """What will be done, with the arithmetic."""
    print(f"{experiment.name}: {experiment.config.description or 'an activation audit'}")
    sets = " + ".join(f"{len(each.prompts)} {each.name}" for each in plan.prompt_sets)
    print(f"  authors           {len(plan.authors)} ({plan.n_organisms} organisms, {plan.n_shams} shams)")
    print(f"  prompts           {plan.n_prompts} = {sets}")
    print(f"  responses         {plan.n_responses:,} = {len(plan.authors)} × {plan.n_prompts}")
    print(f"  activation files  {plan.n_files:,} = {plan.n_responses:,} × 2 readers")
    if plan.d_model is None:
        print("  bytes             unknown: the model's width is neither reachable nor in config.json (`shape`)")
        return
    size, each = human_bytes(plan.most_bytes), human_bytes(plan.most_file_bytes)
    print(f"  bytes, at most    {size} = {plan.n_files:,} × {plan.file_arithmetic} ({each} a file)")
    if plan.weight_bytes is not None:
        print(f"  weights           {human_bytes(plan.weight_bytes)} in memory, loaded once")


def size_jobs(
    experiment: Experiment, plan: Plan, machine: Machine, width: int | None, findings: Findings
) -> dict[str, JobSize] | None:
    """The job of each step with work left; None, with a problem noted, where its size cannot be known."""
    try:
        return job_sizes(experiment, plan, work_left(experiment, plan), machine, width)
    except InputError as error:
        findings.problems += [str(error)] if str(error) not in findings.problems else []
        return None


def sbatch_lines(sizes: Mapping[str, JobSize]) -> list[str]:
    """For each step how its hours come about, and its sbatch options."""
    lines = []
    for step, size in sizes.items():
        lines += [f"  {step:17} {size.arithmetic}", f"  {'sbatch ' + step:17} {' '.join(size.sbatch_options())}"]
    return lines or ["  sbatch            nothing is left to do"]


def measure(experiment: Experiment, plan: Plan, options: CaptureOptions, args: argparse.Namespace) -> None:
    """Load, verify and time: an estimate of hours from one real batch."""
    from inference.measurement import measure_batch

    units = plan_units(experiment, plan.authors, plan.prompt_sets)
    found = measure_batch(experiment, units, options, args.device, args.threads)
    total = found.load_seconds + found.adapter_seconds * len(plan.authors) + found.batch_seconds * len(units)
    print(
        f"  measured          load {found.load_seconds:.1f} s, adapter {found.adapter_seconds:.2f} s, batch of "
        f"{len(units[0].prompts)} {found.batch_seconds:.1f} s generating and reading twice"
    )
    print(f"  estimate          {cli.duration(total)} = load + {len(plan.authors)} adapters + {len(units)} batches")
    print(f"  at most           {cli.duration(total * found.longest_factor)}, if every response ran to its limit")


def planned_options(args: argparse.Namespace, experiment: Experiment) -> CaptureOptions:
    """What will be kept; with --vectors-later, vectors that are still to be made count as one per trait and method."""
    if not args.vectors_later or list_vectors(experiment.paths.vectors):
        return read_capture_options(args, experiment)
    names = [Path(trait) / method for trait in experiment.paths.trait_names for method in METHOD_NAMES]
    return CaptureOptions(args.response_only, args.dtype, args.keep, tuple(VectorFile(name, "") for name in names))


def responses_left(experiment: Experiment, plan: Plan) -> bool:
    """Whether phases 1 and 2 have anything left to do."""
    statuses = (author_status(experiment, author, plan.prompt_sets) for author in plan.authors)
    return any(count.left for status in statuses for name, count in status.items() if name != "projected")


def check_everything(
    experiment: Experiment, plan: Plan, needs_vectors: bool, gpu_gb: float | None = None
) -> Findings:
    """All problems, not only the first; `gpu_gb`: memory of a cluster's GPU, in place of this machine's."""
    findings = Findings()
    check_model(experiment, plan, findings, gpu_gb)
    check_adapters(experiment, plan.authors, findings)
    check_vectors(experiment, plan, needs_vectors, findings)
    check_disk(experiment, plan, findings)
    return findings


def build_parser() -> argparse.ArgumentParser:
    parser = model_phase_parser(__doc__, [capture_options(), cli.cluster_options()], sampling=True)
    parser.add_argument("--measure", action="store_true", help="load the model, verify hooks and time one batch")
    parser.add_argument("--vectors-later", action="store_true", help="trait vectors may be missing: they come later")
    parser.add_argument(
        "--sbatch",
        action="store_true",
        help="print each step's sbatch options; checks memory against the cluster's GPU in place of this machine's",
    )
    return parser


def prepare(args: argparse.Namespace) -> dict[str, JobSize]:
    """Print the plan and all that is missing; with --sbatch, the job sizes of the steps with work left.

    Raises:
        InputError: something is missing.
    """
    experiment = read_experiment(args)
    options = planned_options(args, experiment)
    plan = make_plan(experiment, args.model_variant, args.prompt_set, options)
    machine = Machine(args.gpu_gb, args.gres, args.workers, args.time_limit) if args.sbatch else None
    gpu_gb = machine.gpu_gb if machine else None
    findings = check_everything(experiment, plan, needs_vectors=not args.vectors_later, gpu_gb=gpu_gb)
    sizes = size_jobs(experiment, plan, machine, args.width, findings) if machine else None
    print_plan(experiment, plan)
    for line in [] if sizes is None else sbatch_lines(sizes):
        print(line)
    for note in findings.notes:
        print(f"  note              {note}")
    for problem in findings.problems:
        print(f"  MISSING           {problem}")
    if findings.problems:
        raise InputError(f"preflight of {experiment.name}: {len(findings.problems)} problems, listed above")
    if args.measure and responses_left(experiment, plan):
        measure(experiment, plan, options, args)
    print("  ready")
    return sizes or {}


def main(argv: Sequence[str] | None = None) -> int:
    prepare(build_parser().parse_args(argv))
    return 0


if __name__ == "__main__":
    cli.run(main)
