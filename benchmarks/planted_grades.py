"""How right the audit is where the answers are known: five worlds, and twenty organisms that were taught nothing.

Each world is built and audited as the README says (`run_overnight.sh --seed N`, then `--preset shams`); what is there
already is kept. Then the grades are put beside each other, and the shams are tried as organisms.

Reads   <root>/planted_quirks…/
Writes  the page of results, to FILE where --out is given, and to standard output

Example: python -m benchmarks.planted_grades --root /scratch/grades --out grades.md
         python -m benchmarks.planted_grades --root /scratch/grades --seeds 0 --no-shams
"""

import argparse
import itertools
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.contrasts import join, peers_of
from analysis.detection import ALPHA, MIN_Z, Entries, find_entries, is_detected
from analysis.grading import Grade, assign, grade
from analysis.readings import read_paired
from benchmarks.machine import this_machine
from benchmarks.pages import page_option, publish
from benchmarks.tables import machine_lines, table
from experiments.planted_quirks.recipe import make_recipe
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.paths import REPOSITORY
from interp.stats import Interval, bootstrap_counts, wilson

METHOD = "mean_difference"
N_NULL_SHAMS = 2
"""As many as the embedded default has beside the one that is tried."""


@dataclass(frozen=True)
class World:
    """An audited world: its entries, and its organisms' grade."""

    name: str
    entries: Entries
    grade: Grade
    shams: tuple[str, ...]


def audit(root: Path, *options: str) -> None:
    """Build and audit a world; seconds where that is done."""
    command = ["bash", "run_overnight.sh", *options]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "INTERP_ROOT": str(root)}, check=False)
    if done.returncode:
        raise InputError(f"`{' '.join(command)}` ended with {done.returncode}; see above")


def read_world(root: Path, name: str) -> World:
    """Its entries, found anew."""
    experiment = Experiment(name, root)
    variants = {author: experiment.config.model_variants[author] for author in experiment.audited}
    shams = tuple(author for author, variant in variants.items() if variant.role == "sham")
    paired = [read_paired(experiment, author, experiment.config.prompt_sets) for author in variants]
    entries = find_entries(join(paired), peers_of(variants), METHOD, shams)
    truth = {author: variant.truth for author, variant in variants.items()}
    return World(name, entries, grade(entries, assign(entries, truth)), shams)


def grades_section(worlds: Sequence[World]) -> str:
    """A row per world, and one of all."""
    rows = [_grade_row(world.name, [world.grade]) for world in worlds]
    rows.append(_grade_row("**all**", [world.grade for world in worlds]))
    header = ["world", "own trait is the largest entry", "rank of the own trait, worst", "AUROC of planted entries",
              "planted entries detected", "others detected"]  # fmt: skip
    words = (
        f"An organism's entries are of {worlds[0].grade.n_traits} traits; blind guessing is right for "
        f"{1 / worlds[0].grade.n_traits:.1%}. Intervals are Wilson's, of 95%, as if entries were independent."
    )
    return "\n\n".join(["## Grades", words, table(header, rows)])


def _grade_row(name: str, grades: Sequence[Grade]) -> list[str]:
    auroc = [each.auroc.estimate for each in grades if each.auroc is not None]
    counts = [
        (sum(each.right for each in grades), sum(each.graded for each in grades)),
        (sum(each.found for each in grades), sum(each.graded for each in grades)),
        (sum(each.false for each in grades), sum(each.n_false for each in grades)),
    ]
    right, found, false = (_share(*each) for each in counts)
    return [name, right, str(max(max(each.ranks) for each in grades)), f"{np.mean(auroc):.3f}", found, false]


def _share(count: int, n: int) -> str:
    interval = wilson(count, n)
    return f"{count} of {n} ({interval.low:.1%} to {interval.high:.1%})"


def shams_section(world: World, draws: int = 100) -> str:
    """Each part of the rule, and the whole, on organisms that were taught nothing."""
    estimates, found = world.entries.estimates, world.entries.differences
    rows = [world.entries.authors.index(name) for name in world.shams]
    q, z, random_p = (values[rows] for values in (estimates.q, found.z_others, world.entries.random_p))
    above, detected = _against_pairs(world, rows, draws)
    parts = {
        f"p < {ALPHA:g} (sign flips)": estimates.p[rows] < ALPHA,
        f"q < {ALPHA:g}": q < ALPHA,
        f"p against random directions < {ALPHA:g}": random_p < ALPHA,
        f"robust z against the peers > {MIN_Z:g}": z > MIN_Z,
        f"above all entries of {N_NULL_SHAMS} other shams": above,
        "detected: all of these": detected,
    }
    nominal = ["5%", "", "5%", "", "", ""]
    lines = [
        [name, level, _clustered(flags.mean(axis=-1)), _clustered(flags.any(axis=-1).astype(float))]
        for (name, flags), level in zip(parts.items(), nominal, strict=True)
    ]
    words = (
        f"{len(rows)} adapters trained by the organisms' recipe on data without a quirk, each tried on "
        f"{len(world.entries.traits)} traits. The last two rows set each sham against {N_NULL_SHAMS} others, drawn "
        f"{draws} times. Intervals: shams resampled, 95%."
    )
    header = ["", "nominal", "share of entries", "share of shams with any"]
    return "\n\n".join(["## Shams taken for organisms", words, table(header, lines)])


def _against_pairs(world: World, rows: Sequence[int], draws: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each sham's entries `[shams, draws, traits]`: above all of some other shams'; detected beside them."""
    estimates, found = world.entries.estimates, world.entries.differences
    draw = np.random.default_rng(0)
    above, detected = [], []
    for row in rows:
        pairs = list(itertools.combinations([other for other in rows if other != row], N_NULL_SHAMS))
        chosen = [pairs[at] for at in draw.integers(len(pairs), size=draws)]
        largest = np.array([estimates.effect[list(pair)].max() for pair in chosen])[:, None]
        own = (estimates.q[row], estimates.effect[row], found.z_others[row], world.entries.random_p[row])
        q, effect, z, random_p = (np.broadcast_to(values, (draws, len(values))) for values in own)
        above.append(effect > largest)
        detected.append(is_detected(q, effect, np.broadcast_to(largest, effect.shape), z, random_p))
    return np.stack(above), np.stack(detected)


def _clustered(values: NDArray[np.floating]) -> str:
    """A mean over shams (first axis), with its interval by resampling them."""
    of_shams = values.reshape(len(values), -1).mean(axis=1)
    resampled = bootstrap_counts(len(of_shams), 2000, seed=0) @ of_shams / len(of_shams)
    interval = Interval(float(of_shams.mean()), *(float(end) for end in np.quantile(resampled, [0.025, 0.975])))
    return f"{interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[page_option()]
    )
    parser.add_argument("--root", type=Path, required=True, help="where the worlds are built; about 1 GB each")
    parser.add_argument("--seeds", type=cli.names, default=[*"01234"], metavar="A,B", help="default: 0,1,2,3,4")
    parser.add_argument("--preset", default="default", help="of the worlds (default: default; tiny: for a test)")
    parser.add_argument("--no-shams", action="store_true", help="leave the world of twenty shams out")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    worlds = []
    for seed in map(int, args.seeds):
        audit(args.root, "--preset", args.preset, "--seed", str(seed))
        worlds.append(read_world(args.root, make_recipe(args.preset, seed).folder_name))
    sections = [grades_section(worlds)]
    if not args.no_shams:
        audit(args.root, "--preset", "shams")
        sections.append(shams_section(read_world(args.root, make_recipe("shams", 0).folder_name)))
    page = "\n\n".join(["# Grades where the answers are known", machine_lines(this_machine(1, None)), *sections]) + "\n"
    publish(page, args.out)
    return 0


if __name__ == "__main__":
    cli.run(main)
