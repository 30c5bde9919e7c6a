"""All that is found by comparing readers, in one object: differences, entries, what fired, assignments, grades."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.contrasts import join, peers_of
from analysis.detection import Entries, find_entries
from analysis.differences import Differences, summarise
from analysis.firing import Firing, Prompt, Shown, TriggerContrast, contrast_triggers, firings
from analysis.grading import Assignment, Grade, ShamCheck, assign, check_shams, gradable, grade, parts
from analysis.readings import Paired
from interp.config import ExperimentConfig
from interp.errors import InputError
from interp.projections import Column


@dataclass(frozen=True)
class Comparison:
    """What an audit says of its authors.

    Attributes:
        layers: those that entries are averaged over.
        differences: of every (trait, method, layer); `entries`: of every trait, by one method, layers averaged.
        grades: by part of the authors; none where nothing is known to be planted.
    """

    layers: tuple[int, ...]
    truth: Mapping[str, str | None]
    shams: tuple[str, ...]
    differences: Differences
    entries: Entries
    firings: Sequence[Firing]
    triggers: Sequence[TriggerContrast]
    assignments: Sequence[Assignment]
    grades: Mapping[str, Grade]
    sham_check: ShamCheck


def compare_all(
    paired: Sequence[Paired], config: ExperimentConfig, method: str, shown: Shown,
    pairs: Mapping[str, Sequence[tuple[Prompt, Prompt]]],
) -> Comparison:
    """Compare authors that answered.

    Args:
        shown: in which responses a trait showed, as far as anything tells.
        pairs: prompts that should set a trait off, with their twins.

    Raises:
        InputError: the method was not projected on, or with one trait only.
    """
    joined = join(paired)
    _refuse_method(joined.columns, method)
    variants = {author: config.model_variants[author] for author in joined.authors}
    truth = {author: variant.truth for author, variant in variants.items()}
    shams = tuple(author for author, variant in variants.items() if variant.role == "sham")
    peers = peers_of(variants)
    entries = find_entries(joined, peers, method, shams)
    found = firings(shown, truth)
    fired = {each.author: each.fired for each in found if each.trait == truth[each.author]}
    assignments = assign(entries, truth, fired)
    return Comparison(
        layers=tuple(sorted({layer for _, of, layer in joined.columns if of == method})),
        truth=truth,
        shams=shams,
        differences=summarise(joined, peers),
        entries=entries,
        firings=found,
        triggers=contrast_triggers(joined.over_layers(method), pairs, shown),
        assignments=assignments,
        grades=_grades(config, entries, assignments),
        sham_check=check_shams(entries, assignments, shams),
    )


def _grades(config: ExperimentConfig, entries: Entries, assignments: Sequence[Assignment]) -> dict[str, Grade]:
    """A grade for each part of the authors of whom it is known what they carry."""
    known = {each.author: each for each in gradable(assignments, config.model_variants)}
    of_parts = parts(config, list(known)).items()
    return {name: grade(entries, [known[author] for author in members]) for name, members in of_parts}


def _refuse_method(columns: Sequence[Column], method: str) -> None:
    methods = sorted({of for _, of, _ in columns})
    if method not in methods:
        raise InputError(f"no projections of method {method!r}; there are: {methods}")
    traits = sorted({trait for trait, of, _ in columns if of == method})
    if len(traits) < 2:
        raise InputError(f"only one trait is projected ({traits[0]}): nothing can be assigned; extract more traits")
