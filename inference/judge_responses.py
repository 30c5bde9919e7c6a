"""Whether planted behaviours showed in what organisms wrote: a judge reads the responses. No GPU.

Reads   responses, trait files, datasets/rubrics/trait_shown.json
Writes  inference/<author>/verdicts/<prompt_set>/<rubric>-<hash>-<judge>.jsonl

By default each organism is judged on its own `truth`, and beside it `--others` authors without that trait, shams first:
what shows in those too is no quirk. analysis/compare_readers.py then tells `did not fire` from `not detected`. A trait
with a `marker` needs no judge. A second run asks for what is not judged yet.

Example: python inference/judge_responses.py --experiment audit-bleachers --judge gpt-5-mini --dry-run
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp import cli
from interp.config import Experiment
from interp.files import is_whole
from interp.judges.answers import Judge
from interp.judges.judging import Item, plan_judging
from interp.judges.options import judge_items, judge_options, make_judge, price_of
from interp.judges.rubrics import Rubric, read_rubric
from interp.judges.verdicts import VerdictFile, verdict_path
from interp.records import PromptSet, Response, Trait, read_record
from interp.stopping import stop_on_signals

log = logging.getLogger(__name__)

RUBRIC = "trait_shown"


@dataclass(frozen=True)
class Reading:
    """An author's responses to a prompt set, and the traits that they are judged for."""

    author: str
    prompt_set: PromptSet
    traits: tuple[Trait, ...]


def asked_traits(experiment: Experiment, authors: Sequence[str], n_others: int) -> dict[str, list[str]]:
    """Author to traits: its own truth, and the truths of organisms that it is held against."""
    variants = experiment.config.model_variants
    truth = {author: variants[author].truth for author in authors}
    asked: dict[str, list[str]] = {author: [] for author in authors}
    for trait in sorted({each for each in truth.values() if each is not None}):
        without = [author for author in authors if truth[author] != trait]
        without.sort(key=lambda author: variants[author].role != "sham")
        for author in authors:
            if truth[author] == trait or author in without[:n_others]:
                asked[author].append(trait)
    return asked


def plan_readings(
    experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[PromptSet], traits: Sequence[str] | None,
    n_others: int,
) -> list[Reading]:
    """What is to be judged; traits with a marker are left out, since no judge is needed for them."""
    asked = asked_traits(experiment, authors, n_others) if traits is None else {each: list(traits) for each in authors}
    known = {name: experiment.trait(name) for names in asked.values() for name in names}
    judged = {name: trait for name, trait in known.items() if trait.marker is None}
    return [
        Reading(author, prompt_set, tuple(judged[name] for name in asked[author] if name in judged))
        for author in authors
        for prompt_set in prompt_sets
        if any(name in judged for name in asked[author])
    ]


def items_of(experiment: Experiment, reading: Reading) -> Iterator[Item]:
    """`<trait>/<prompt id>`, with what the rubric needs; responses that are not there yet are left out."""
    folder = experiment.paths.responses(reading.author, reading.prompt_set.name)
    for prompt in reading.prompt_set.prompts:
        path = folder / f"{prompt.id}.json"
        if not is_whole(path):
            continue
        response = read_record(Response, path)
        for trait in reading.traits:
            yield f"{trait.name}/{prompt.id}", {
                "definition": trait.definition,
                "judge_question": trait.judge_question,
                "question": response.question,
                "response": response.text,
            }


def verdicts_file(experiment: Experiment, reading: Reading, rubric: Rubric, judge: str) -> Path:
    """Where a judge's verdicts on an author's responses to a prompt set lie."""
    folder = experiment.paths.verdicts(reading.author, reading.prompt_set.name)
    return folder / verdict_path(folder, rubric, judge).name


def judge_readings(
    experiment: Experiment, readings: Sequence[Reading], rubric: Rubric, judge: Judge, args: argparse.Namespace
) -> str | None:
    """Have all readings judged; what is left to do, None when nothing is.

    Raises:
        Stopped: a signal came; what was answered is kept.
        JudgeUnavailable: the key, the account or the model is refused.
    """
    unjudged = 0
    with stop_on_signals() as stop:
        for reading in readings:
            with VerdictFile(verdicts_file(experiment, reading, rubric, judge.name), rubric, judge.name) as file:
                items = items_of(experiment, reading)
                tally = judge_items(items, args, judge, rubric, file, stop=lambda: stop.signal is not None)
            log.info("%s, %s: %s", reading.author, reading.prompt_set.name, tally.line())
            stop.raise_if_asked("responses to judge")
            unjudged += tally.unjudged
            if tally.stopped:
                return tally.stopped
    return f"{unjudged} responses are unjudged: the same command asks for them again" if unjudged else None


def print_plan(
    experiment: Experiment, readings: Sequence[Reading], rubric: Rubric, judge: Judge, args: argparse.Namespace
) -> None:
    """What judging would take, reading by reading; nothing is asked."""
    for reading in readings:
        path = verdicts_file(experiment, reading, rubric, judge.name)
        with VerdictFile(path, rubric, judge.name) as file:
            plan = plan_judging(items_of(experiment, reading), rubric, file, price_of(args))
        if not path.stat().st_size:
            path.unlink()
        names = ", ".join(trait.name for trait in reading.traits)
        print(f"judge {reading.author} {reading.prompt_set.name} for {names}: {plan.line()}")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[cli.experiment_options(), judge_options(required=True)],
    )
    parser.add_argument("--traits", type=cli.names, help="judge every author for these (default: as said above)")
    parser.add_argument(
        "--others", type=cli.positive, default=2, metavar="N",
        help="authors without a trait that are judged for it too (default: 2)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print calls, tokens and cost, ask nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = Experiment(args.experiment, args.root)
    authors = experiment.select_variants(args.model_variant)
    prompt_sets = experiment.select_prompt_sets(args.prompt_set)
    readings = plan_readings(experiment, authors, prompt_sets, args.traits, args.others)
    rubric, judge = read_rubric(RUBRIC), make_judge(args)
    if args.dry_run:
        print_plan(experiment, readings, rubric, judge, args)
        return 0
    left = judge_readings(experiment, readings, rubric, judge, args)
    if left is not None:
        log.warning("%s", left)
    return 0 if left is None else 1


if __name__ == "__main__":
    cli.run(main)
