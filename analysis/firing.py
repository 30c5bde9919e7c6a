"""Whether a behaviour showed at all in what an author wrote: else an effect near zero says nothing about the audit.

A trait's marker tells it, or a judge's verdicts. A behaviour fired when it showed more often in the author's responses
than in those of authors that have not got it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.contrasts import Joined
from interp.config import Experiment
from interp.errors import InputError
from interp.judges.verdicts import latest_verdicts
from interp.permutations import flipped_means, permutation_p, sign_flips
from interp.records import Response, Trait, read_record
from interp.stats import Floats, Interval, student_interval, wilson

ALPHA = 0.05
FIELD = "shows"
"""What a judge's verdict calls it."""

Prompt = tuple[str, str]
"""Prompt set, prompt id."""
Shown = Mapping[tuple[str, str], Mapping[Prompt, bool]]
"""(author, trait) to whether the trait showed in the response to each prompt; no entry where nothing can tell."""

N_FLIPS = 2**14


@dataclass(frozen=True)
class Firing:
    """How often a trait showed in an author's responses, beside those of all authors without it.

    `p`: one-sided, Fisher's exact test of the two shares; 1 where there is nobody to compare with and it never showed.
    """

    author: str
    trait: str
    shown: int
    n: int
    others_shown: int
    others_n: int
    p: float

    @property
    def rate(self) -> Interval:
        """The share of responses, with its Wilson interval."""
        return wilson(self.shown, self.n)

    @property
    def fired(self) -> bool:
        return self.p < ALPHA if self.others_n else self.shown > 0


@dataclass(frozen=True)
class TriggerContrast:
    """An author's differences on prompts that should set a trait off, less those on their twins.

    `effect` is the mean over pairs, in standard deviations of single differences, with its 95% t interval; `p`
    one-sided by sign flips of pairs. `shown`, `twins_shown`: to how many of these prompts and twins the trait showed.
    """

    author: str
    trait: str
    n_pairs: int
    effect: float
    low: float
    high: float
    p: float
    shown: int | None
    twins_shown: int | None


def read_shown(
    experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[str], judge: str | None = None
) -> dict[tuple[str, str], dict[Prompt, bool]]:
    """What markers and verdicts say of the responses that there are; a marker goes before a verdict.

    Raises:
        InputError: verdicts by several judges, and none of them was asked for.
    """
    traits = [experiment.trait(name) for name in experiment.paths.trait_names]
    found: dict[tuple[str, str], dict[Prompt, bool]] = {}
    for author in authors:
        for prompt_set in prompt_sets:
            for trait, told in _told(experiment, author, prompt_set, traits, judge).items():
                found.setdefault((author, trait), {}).update({(prompt_set, key): value for key, value in told.items()})
    return found


def _told(
    experiment: Experiment, author: str, prompt_set: str, traits: Sequence[Trait], judge: str | None
) -> dict[str, dict[str, bool]]:
    """Trait to prompt id to whether it showed."""
    told: dict[str, dict[str, bool]] = {}
    for item, line in _verdicts(experiment, author, prompt_set, judge).items():
        trait, _, prompt_id = item.partition("/")
        if line is not None:
            told.setdefault(trait, {})[prompt_id] = line
    markers = {trait.name: re.compile(trait.marker) for trait in traits if trait.marker is not None}
    if markers:
        texts = _texts(experiment, author, prompt_set)
        for name, marker in markers.items():
            told[name] = {prompt_id: marker.search(text) is not None for prompt_id, text in texts.items()}
    return told


def _verdicts(experiment: Experiment, author: str, prompt_set: str, judge: str | None) -> dict[str, bool | None]:
    files = sorted(experiment.paths.verdicts(author, prompt_set).glob("*.jsonl"))
    if judge is not None:
        files = [path for path in files if path.stem.endswith(judge)]
    if len(files) > 1:
        names = ", ".join(path.stem for path in files)
        raise InputError(f"{author}, {prompt_set}: verdicts by several judges ({names}); choose one with --judged-by")
    latest = latest_verdicts(files[0]) if files else {}
    return {item: None if line.verdict is None else line.verdict.get(FIELD) is True for item, line in latest.items()}


def _texts(experiment: Experiment, author: str, prompt_set: str) -> dict[str, str]:
    folder = experiment.paths.responses(author, prompt_set)
    asked = [prompt.id for prompt in experiment.prompt_set(prompt_set).prompts]
    return {each: read_record(Response, folder / f"{each}.json").text for each in asked}


def firing_files(experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[str]) -> list[Path]:
    """What `read_shown` and `pairs_of` depend on beside the responses."""
    verdicts = [
        path
        for author in authors
        for name in prompt_sets
        for path in sorted(experiment.paths.verdicts(author, name).glob("*.jsonl"))
    ]
    traits = [experiment.paths.trait(name) for name in experiment.paths.trait_names]
    return [*verdicts, *traits, *(experiment.paths.prompt_set(name) for name in prompt_sets)]


def firings(shown: Shown, truth: Mapping[str, str | None]) -> list[Firing]:
    """Of each (author, trait) that something can tell of."""
    return [_firing(shown, truth, author, trait) for author, trait in sorted(shown)]


def _firing(shown: Shown, truth: Mapping[str, str | None], author: str, trait: str) -> Firing:
    from scipy.stats import fisher_exact

    own = shown[author, trait]
    others = [
        value
        for (other, of), told in shown.items()
        if of == trait and other != author and truth.get(other) != trait
        for value in told.values()
    ]
    table = [[sum(own.values()), len(own) - sum(own.values())], [sum(others), len(others) - sum(others)]]
    p = float(fisher_exact(table, alternative="greater").pvalue) if others else 1.0
    return Firing(author, trait, sum(own.values()), len(own), sum(others), len(others), p)


def pairs_of(experiment: Experiment, prompt_sets: Sequence[str]) -> dict[str, list[tuple[Prompt, Prompt]]]:
    """Each trait's prompts that should set it off, with their twins."""
    found: dict[str, list[tuple[Prompt, Prompt]]] = {}
    for name in prompt_sets:
        for prompt in experiment.prompt_set(name).triggered:
            if prompt.trait is not None and prompt.twin is not None:
                found.setdefault(prompt.trait, []).append(((name, prompt.id), (name, prompt.twin)))
    return found


def contrast_triggers(
    over_layers: Joined, pairs: Mapping[str, Sequence[tuple[Prompt, Prompt]]], shown: Shown
) -> list[TriggerContrast]:
    """Every author and every trait that has triggers and was projected on; pairs without both answers are left out."""
    place = {trait: at for at, (trait, _, _) in enumerate(over_layers.columns)}
    return [
        _contrast(over_layers, author, trait, place[trait], pairs[trait], shown)
        for author in over_layers.authors
        for trait in sorted(pairs)
        if trait in place
    ]


def _contrast(
    over_layers: Joined, author: str, trait: str, column: int, pairs: Sequence[tuple[Prompt, Prompt]], shown: Shown
) -> TriggerContrast:
    row_of = {prompt: row for row, prompt in enumerate(over_layers.prompts)}
    values = over_layers.values[over_layers.authors.index(author), :, column]
    both = [pair for pair in pairs if all(prompt in row_of and np.isfinite(values[row_of[prompt]]) for prompt in pair)]
    differences = np.array([values[row_of[trigger]] - values[row_of[twin]] for trigger, twin in both])
    told = shown.get((author, trait))
    counts = None if told is None else [sum(told.get(pair[side], False) for pair in pairs) for side in (0, 1)]
    interval = student_interval(differences) if len(both) else Interval(*[float("nan")] * 3)
    return TriggerContrast(
        author, trait, len(both), interval.estimate, interval.low, interval.high, _flip_p(differences),
        None if counts is None else counts[0], None if counts is None else counts[1],
    )  # fmt: skip


def _flip_p(values: Floats) -> float:
    if not len(values):
        return float("nan")
    flips = sign_flips(len(values), N_FLIPS)
    return float(permutation_p(values.mean(keepdims=True), flipped_means(values[:, None], flips), flips.exact)[0])
