"""What is done, left and torn, per phase and author. Loads nothing; needs no scheduler.

Exit status: 0 when everything is done, 1 when work is left.

Example: python inference/status.py --experiment audit-bleachers
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interp import cli
from interp.config import Experiment
from interp.files import is_whole, list_names
from interp.paths import OWN_READER
from interp.records import PromptSet


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
    left = sum(count.left for counts in rows.values() for count in counts.values())
    print(f"{left} files left" if left else "all done")
    return 1 if left else 0


if __name__ == "__main__":
    cli.run(main)
