"""What is done, left and torn, per phase and author; what workers have in hand; what became of submitted jobs.

Read from the work itself and the jobs' logs; a scheduler is asked only about jobs that were submitted, and only for
what waits or runs. Loads nothing. Exit status: 0 when everything is done, 1 when work is left.

Example: python inference/status.py --experiment audit-bleachers
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interp import batch_jobs, cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import is_whole, list_names
from interp.leases import Lease, describe_owner
from interp.paths import OWN_READER
from interp.records import PromptSet

WRONG = ("held", "failed", "lost", "forgotten")


@dataclass(frozen=True)
class Count:
    """Files of one kind: how many are whole, how many torn, how many there should be."""

    done: int
    torn: int
    total: int

    def __add__(self, other: "Count") -> "Count":
        return Count(self.done + other.done, self.torn + other.torn, self.total + other.total)

    def __str__(self) -> str:
        torn = f" ({self.torn} torn)" if self.torn else ""
        return f"{self.done}/{self.total}{torn}"

    @property
    def left(self) -> int:
        return self.total - self.done


def count_files(folder: Path, names: Sequence[str]) -> Count:
    """How many of the files are in the folder, whole or torn."""
    present = list_names(folder)
    found = [name for name in names if name in present]
    whole = sum(is_whole(folder / name) for name in found)
    return Count(whole, len(found) - whole, len(names))


def author_status(experiment: Experiment, author: str, prompt_sets: Sequence[PromptSet]) -> dict[str, Count]:
    """The counts of one author, by phase."""
    paths, reader = experiment.paths, experiment.config.clean_reader
    counts = {"responses": Count(0, 0, 0), "read by self": Count(0, 0, 0), f"by {reader}": Count(0, 0, 0)}
    counts["projected"] = Count(0, 0, 0)
    for prompt_set in prompt_sets:
        ids = [prompt.id for prompt in prompt_set.prompts]
        activations = [f"{prompt_id}.pt" for prompt_id in ids]
        key = (author, prompt_set.name)
        counts["responses"] += count_files(paths.responses(*key), [f"{prompt_id}.json" for prompt_id in ids])
        counts["read by self"] += count_files(paths.activations(*key, OWN_READER), activations)
        counts[f"by {reader}"] += count_files(paths.activations(*key, reader), activations)
        files = [paths.projections(*key, OWN_READER), paths.projections(*key, reader)]
        counts["projected"] += count_files(files[0].parent, [file.name for file in files])
    return counts


def print_table(rows: dict[str, dict[str, Count]]) -> None:
    columns = list(next(iter(rows.values())))
    width = max(map(len, [*rows, "author"]))
    print("author".ljust(width), *(column.rjust(18) for column in columns))
    for author, counts in rows.items():
        print(author.ljust(width), *(str(counts[column]).rjust(18) for column in columns))


def print_in_hand(experiment: Experiment) -> None:
    """What workers are at, or were when they were lost."""
    for name in sorted(list_names(experiment.paths.leases)):
        print(f"in hand: {Lease.parse(name).key} ({describe_owner(experiment.paths.leases / name)})")


def print_jobs(experiment: Experiment) -> None:
    """What became of the latest job of every step; of each that went wrong, why, and where to read on."""
    folder = experiment.paths.jobs
    latest = batch_jobs.read_submitted(folder).latest()
    if not latest:
        return
    try:
        queue = batch_jobs.read_queue()
    except InputError as error:
        print(f"the scheduler cannot be asked ({error}); of jobs that wait or run nothing is known")
        queue = []
    print("jobs")
    for step, job in latest.items():
        found = batch_jobs.outcomes(job, folder, queue)
        counts = Counter(outcome.state for outcome in found)
        print(f"  {step:9} job {job.id}: {', '.join(f'{count} {state}' for state, count in counts.items())}")
        for outcome in sorted({each for each in found if each.state in WRONG}, key=str):
            print(f"    {outcome.state}: {outcome.why}{f' ({outcome.log})' if outcome.log else ''}")


def build_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[cli.experiment_options()]
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = Experiment(args.experiment, args.root)
    prompt_sets = experiment.select_prompt_sets(args.prompt_set)
    authors = experiment.select_variants(args.model_variant)
    rows = {author: author_status(experiment, author, prompt_sets) for author in authors}
    print_table(rows)
    print_in_hand(experiment)
    print_jobs(experiment)
    left = sum(count.left for counts in rows.values() for count in counts.values())
    print(f"{left} files left: the same command, or a new submission, does them" if left else "all done")
    return 1 if left else 0


if __name__ == "__main__":
    cli.run(main)
