"""Submit what is left of an audit as a chain of SLURM jobs; slurm/submit_overnight.sh calls it.

Reads   the experiment, what is done of it, <experiment>/jobs/submitted.json and the queue.
Writes  <experiment>/jobs/submitted.json and, by the jobs, <experiment>/jobs/logs/.

Jobs of an earlier call that wait or run are kept; steps with nothing left get none. Options that are not listed here go
to preflight and to phases 1 and 2.

Example: bash slurm/submit_overnight.sh audit-bleachers --keep projections
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from experiments.planted_quirks import build
from experiments.planted_quirks.recipe import Recipe, make_recipe
from inference import preflight
from inference.job_sizes import BUILD, JobSize
from interp import batch_jobs, cli
from interp.batch_jobs import Job, Queued
from interp.paths import REPOSITORY, ExperimentPaths, default_root

STEPS = ("build", "vectors", "phase1", "phase2", "phase3", "analysis")
SCRIPTS = {"build": "build_planted_quirks"}
"""Where a step's sbatch file has another name."""

_SMALL = JobSize(1, None, 1, 4, 60, "a tiny model")
TINY_CHAIN = {
    "build": BUILD,
    **dict.fromkeys(("vectors", "phase1", "phase2", "phase3"), _SMALL),
    "analysis": JobSize(None, None, 2, 4, 60, "reads scores only"),
}
"""The embedded default before it is built: its config is not there to be read yet."""


@dataclass(frozen=True)
class Chain:
    """What is asked for: the sizes of the steps with work left, and the options that their scripts get.

    `selection` of authors and prompt sets holds for all steps that have to do with responses.
    """

    paths: ExperimentPaths
    sizes: Mapping[str, JobSize]
    selection: Sequence[str] = ()
    build_options: Sequence[str] = ()
    model_options: Sequence[str] = ()
    static: bool = False
    dry_run: bool = False

    @property
    def logs(self) -> Path:
        return self.paths.jobs / "logs"


@dataclass
class Submitter:
    """Goes through the steps: keeps the jobs that will do them, hands in the others."""

    chain: Chain
    queue: Sequence[Queued]
    ids: dict[str, str] = field(default_factory=dict)
    anew: bool = False

    def do(self, step: str) -> str:
        """A line for people: what became of the step."""
        before = batch_jobs.read_submitted(self.chain.paths.jobs).last(step, step_arguments(step, self.chain))
        alive = [each for each in self.queue if before and each.is_of(before) and not each.is_held]
        if before and alive and not self.anew:
            self.ids[step] = before.id
            return f"  {step:9} job {before.id}: {len(alive)} of its elements wait or run; kept"
        self._cancel_waiting(before)
        self.anew = True
        return self._hand_in(step)

    def _cancel_waiting(self, before: Job | None) -> None:
        """What is held, or waits for jobs that are replaced, would only be in the way."""
        waiting = [each.element for each in self.queue if before and each.is_of(before) and each.state == "PENDING"]
        if not self.chain.dry_run:
            batch_jobs.cancel(waiting)

    def _hand_in(self, step: str) -> str:
        size, chain = self.chain.sizes[step], self.chain
        waits_for = dependency(step, self.ids, chain)
        log = f"{step}-%A.log" if size.width is None else f"{step}-%A_%a.log"
        name = f"{chain.paths.experiment}-{step}"
        options = [
            f"--job-name={name}",
            *size.sbatch_options(),
            *([f"--dependency={waits_for}", "--kill-on-invalid-dep=yes"] if waits_for else []),
            f"--chdir={REPOSITORY}",
            f"--output={str(chain.logs).replace('%', '%%')}/{log}",
        ]
        script = REPOSITORY / "slurm" / f"{SCRIPTS.get(step, step)}.sbatch"
        arguments = step_arguments(step, chain)
        if chain.dry_run:
            self.ids[step] = f"<{step}>"
            return f"  sbatch {shlex.join([*options, str(script.relative_to(REPOSITORY)), *arguments])}"
        self.ids[step] = batch_jobs.submit(script, options, arguments)
        job = Job(
            step=step, name=name, id=self.ids[step], arguments=tuple(arguments), elements=size.width,
            waits_for=waits_for, log=f"logs/{log}",
        )
        batch_jobs.note_submitted(chain.paths.jobs, job)
        width = f"{size.width} element{'s' if size.width != 1 else ''}" if size.width else "one job"
        return f"  {step:9} job {job.id}: {width}{', after ' + waits_for if waits_for else ''}"


def dependency(step: str, ids: Mapping[str, str], chain: Chain) -> str:
    """What a step waits for, in sbatch's words.

    Where work is shared, the next step begins when the one before has ended, in whatever way: what counts is whether
    the work is done, and that it sees for itself. Where it is static, element i waits for element i, and goes with it.
    """
    after_any = {"phase2": ("phase1",), "phase3": ("vectors", "phase1", "phase2"), "analysis": ("phase3",)}
    terms = [f"afterok:{ids['build']}"] if "build" in ids and step != "build" else []
    if step == "phase1" and "vectors" in ids and "projections" in chain.model_options:
        terms.append(f"afterok:{ids['vectors']}")
    before = [ids[each] for each in after_any.get(step, ()) if each in ids]
    if before:
        kind = "aftercorr" if chain.static and step == "phase2" else "afterany"
        terms.append(":".join((kind, *before)))
    return ",".join(terms)


def step_arguments(step: str, chain: Chain) -> list[str]:
    """What the step's script gets."""
    root = ["--root", str(chain.paths.root)]
    if step == "build":
        return [*root, *chain.build_options]
    static = ["--shard", "array"] if chain.static and step in ("phase1", "phase2") else []
    selection = () if step == "vectors" else chain.selection
    asked = chain.model_options if step in ("phase1", "phase2") else ()
    return [chain.paths.experiment, *root, *selection, *static, *asked]


def recipe_of(options: Sequence[str]) -> Recipe:
    """Which embedded default the options of its build mean."""
    chosen = build.build_parser().parse_args(list(options))
    return make_recipe(chosen.preset, chosen.seed)


def plan_default(recipe: Recipe, root: Path, options: Sequence[str], args: argparse.Namespace) -> Chain | None:
    """The chain of an embedded default that is not built yet; None once it is."""
    paths = ExperimentPaths(root, recipe.folder_name)
    if build.is_complete(recipe, paths.folder):
        return None
    width = args.width or 1
    sizes = {step: replace(size, width=size.width and width) for step, size in TINY_CHAIN.items()}
    return Chain(paths, sizes, build_options=options, static=args.static, dry_run=args.dry_run)


def plan_audit(name: str, root: Path, options: Sequence[str], args: argparse.Namespace) -> Chain:
    """What is left of an experiment, after a preflight that has printed the plan.

    Raises:
        InputError: something is missing; nothing is submitted.
    """
    target = ["--experiment", name, "--root", str(root)]
    cluster = ["--gpu-gb", str(args.gpu_gb), "--gres", args.gres, "--workers", str(args.workers)]
    limit = ["--time-limit", f"{args.time_limit // 60}:{args.time_limit % 60:02}"]
    selection = [*chosen("--model-variant", args.model_variant), *chosen("--prompt-set", args.prompt_set)]
    asked = [*target, *selection, "--response-only", *options, "--vectors-later"]
    width = args.width or (args.workers if args.static else None)
    fixed = ["--width", str(width)] if width else []
    sizes = preflight.prepare(preflight.build_parser().parse_args([*asked, *cluster, *limit, *fixed, "--sbatch"]))
    return Chain(ExperimentPaths(root, name), sizes, selection, (), options, static=args.static, dry_run=args.dry_run)


def chosen(flag: str, names: Sequence[str] | None) -> list[str]:
    """An option again, as it was given."""
    return [flag, ",".join(names)] if names else []


def submit_chain(chain: Chain) -> None:
    """Hand in what is left, and say how to follow it."""
    name, root = chain.paths.experiment, shlex.quote(str(chain.paths.root))
    if not chain.sizes:
        print(f"{name}: nothing is left to do, nothing is submitted")
        return
    submitter = Submitter(chain, () if chain.dry_run else batch_jobs.read_queue())
    if not chain.dry_run:
        chain.logs.mkdir(parents=True, exist_ok=True)  # without it SLURM drops jobs before they begin
    for step in STEPS:
        if step in chain.sizes:
            print(submitter.do(step))
    if not chain.dry_run:
        print(f"follow it   python inference/status.py --experiment {name} --root {root}")
        print(f"logs        {chain.logs}")
        print(f"cancel it   scancel {' '.join(submitter.ids.values())}")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bash slurm/submit_overnight.sh", usage="%(prog)s [EXPERIMENT] [options]", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, parents=[cli.cluster_options()],
    )
    parser.add_argument("--root", type=Path, default=default_root(), help="default: $INTERP_ROOT or experiments/")
    parser.add_argument("--model-variant", type=cli.names, metavar="A,B", help="authors (default: all)")
    parser.add_argument("--prompt-set", type=cli.names, metavar="A,B", help="prompt sets (default: all of the config)")
    parser.add_argument(
        "--static", action="store_true", help="fixed shares (--shard i/n), phase 2's element after phase 1's"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the sbatch commands and end")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    name = given.pop(0) if given and not given[0].startswith("-") else None
    args, options = build_parser().parse_known_args(given)
    root = args.root.resolve()
    recipe = recipe_of(options) if name is None else None
    chain = plan_default(recipe, root, options, args) if recipe else None
    if chain is None:
        chain = plan_audit(recipe.folder_name, root, [], args) if recipe else plan_audit(str(name), root, options, args)
    submit_chain(chain)
    return 0


if __name__ == "__main__":
    cli.run(main)
