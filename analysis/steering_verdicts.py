"""Having a judge read steered replies, and what it said: verdicts lie beside the replies, and none is asked twice."""

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.judged_steering import JudgedSteering, Scores, judged_steerings
from interp.config import Experiment
from interp.errors import InputError
from interp.files import is_whole
from interp.judges.answers import Judge
from interp.judges.judging import Item, plan_judging
from interp.judges.options import judge_items, price_of
from interp.judges.rubrics import Rubric, Verdict
from interp.judges.verdicts import VerdictFile, verdict_path
from interp.records import Trait
from interp.stats import Floats
from interp.steering_store import SteeredResponses, load_responses, responses_path
from interp.stopping import stop_on_signals

RUBRIC = "trait_score"
MIN_QUESTIONS = 4
"""Below which there is nothing to halve."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replies:
    """A trait's steered replies under some methods' vectors; `files`: theirs, and the trait's."""

    trait: Trait
    methods: tuple[str, ...]
    responses: SteeredResponses
    files: tuple[Path, Path]

    def rows(self) -> list[dict[str, Any]]:
        """Those of the methods, and those without steering."""
        return [row for row in self.responses.rows.to_pylist() if row["method"] in (None, *self.methods)]

    def items(self) -> Iterator[Item]:
        """What a judge is given of each reply."""
        about = {"definition": self.trait.definition, "judge_question": self.trait.judge_question}
        questions = self.responses.provenance.questions
        for row in self.rows():
            yield item_id(row), {**about, "question": questions[row["item"]], "response": row["text"]}


def item_id(row: Mapping[str, Any]) -> str:
    """`<method>/<direction>/<layer>/<strength>/<question>`, or `unsteered/<question>`."""
    if row["method"] is None:
        return f"unsteered/{row['item']}"
    return f"{row['method']}/{row['direction']}/{row['layer']}/{row['strength']}/{row['item']}"


@dataclass(frozen=True)
class FoundReplies:
    """The replies that can be judged, and of which traits and vectors there are none, with the reason."""

    replies: list[Replies]
    left_out: dict[str, str]


@dataclass(frozen=True)
class Judged:
    """What a judge said of an experiment's steered replies.

    Attributes:
        files: those that it follows from.
        n_replies, n_unjudged: how many replies were to be judged, and how many of them have no verdict.
        stopped: why some were not even asked about, if so.
    """

    judge: str
    rubric: str
    steered: list[JudgedSteering]
    left_out: dict[str, str]
    files: list[Path]
    n_replies: int
    n_unjudged: int
    stopped: str | None


def find_replies(experiment: Experiment, vectors: Sequence[Path]) -> FoundReplies:
    """The steered replies of some vectors.

    Raises:
        InputError: there are none at all; says what makes them.
    """
    wanted: dict[str, list[str]] = {}
    for vector in vectors:
        wanted.setdefault(vector.parent.name, []).append(vector.stem)
    found = FoundReplies([], {})
    present = {name for name in wanted if is_whole(responses_path(experiment.paths.vectors, name))}
    if not present:
        raise InputError(
            f"no steered replies in {experiment.paths.vectors}: make them with "
            f"inference/steer_with_vectors.py --experiment {experiment.name} --responses 10 --skip-existing"
        )
    for name, methods in wanted.items():
        if name not in present:
            found.left_out[name] = "no steered replies (inference/steer_with_vectors.py --responses)"
            continue
        _add_replies(experiment, name, methods, found)
    return found


def _add_replies(experiment: Experiment, name: str, methods: Sequence[str], found: FoundReplies) -> None:
    """A trait's replies, as far as there are enough of them."""
    path = responses_path(experiment.paths.vectors, name)
    responses = load_responses(path)
    made = responses.provenance
    if len(made.questions) < MIN_QUESTIONS:
        found.left_out[name] = f"fewer than {MIN_QUESTIONS} questions were answered under steering"
        return
    found.left_out.update({f"{name} {each}": "no steered replies" for each in methods if each not in made.vectors})
    there = tuple(each for each in methods if each in made.vectors)
    if there:
        files = (path, experiment.paths.trait(name))
        found.replies.append(Replies(experiment.trait(name), there, responses, files))


def plan_lines(found: FoundReplies, judge: Judge, rubric: Rubric, args: argparse.Namespace) -> Iterator[str]:
    """What judging would take, trait by trait; nothing is asked."""
    for each in found.replies:
        path = verdict_path(each.files[0], rubric, judge.name)
        with VerdictFile(path, rubric, judge.name) as file:
            plan = plan_judging(each.items(), rubric, file, price_of(args))
        if not path.stat().st_size:
            path.unlink()
        yield f"judge {each.trait.name} steered by {', '.join(each.methods)}: {plan.line()}"


def judge_replies(found: FoundReplies, judge: Judge, rubric: Rubric, args: argparse.Namespace) -> Judged:
    """Have everything judged that is not yet, and read what was said.

    Raises:
        Stopped: a signal came; what was answered is kept.
        JudgeUnavailable: the key, the account or the model is refused; what was answered is kept.
    """
    steered: list[JudgedSteering] = []
    files: list[Path] = []
    said: list[Verdict | None] = []
    stopped = None
    with stop_on_signals() as stop:
        for each in found.replies:
            with VerdictFile(verdict_path(each.files[0], rubric, judge.name), rubric, judge.name) as file:
                tally = judge_items(each.items(), args, judge, rubric, file, stop=lambda: stop.signal is not None)
                log.info("%s: %s", each.trait.name, tally.line())
                stop.raise_if_asked("steered replies to judge")
                verdicts = [file.find(file.key(rubric.messages(values))) for _, values in each.items()]
            steered += _judged(each, verdicts)
            files += [*each.files, file.path]
            said += verdicts
            stopped = stopped or tally.stopped
    return Judged(judge.name, rubric.hash, steered, found.left_out, files, len(said), said.count(None), stopped)


def _judged(replies: Replies, verdicts: Sequence[Verdict | None]) -> list[JudgedSteering]:
    def numbers(name: str) -> Floats:
        return np.array([np.nan if verdict is None else verdict[name] for verdict in verdicts], dtype=float)

    scores = Scores(numbers("trait"), numbers("coherence"))
    return judged_steerings(replies.responses.provenance, replies.rows(), scores, replies.methods)
