"""Scores of all authors in one array, and each author's against its peers, prompt by prompt.

What all organisms share (a recipe, a persona) moves every author's difference from the clean reader. Centring takes it
off: from each author's difference the median of its peers' is subtracted, on the same prompt and column. The clean
reader's own mean cannot be used for it, since it cancels in a paired difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.readings import Paired
from interp.config import ModelVariant
from interp.projections import Column
from interp.stats import Floats

MIN_PEERS = 3
EVERY_LAYER = -1
"""Stands in a column for the mean over layers."""

Peers = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Joined:
    """Author − clean reader, `[authors, prompts, columns]`, NaN where a response is empty; and of the cosines."""

    authors: tuple[str, ...]
    columns: tuple[Column, ...]
    values: Floats
    cosines: Floats

    @property
    def spread(self) -> Floats:
        """`[columns]`: the standard deviation of single differences, all authors and prompts together."""
        return spread_of(self.values)

    def over_layers(self, method: str) -> "Joined":
        """A column per trait: a prompt's differences in units of `spread`, averaged over a method's layers."""
        traits = sorted({trait for trait, of, _ in self.columns if of == method})
        places = [[i for i, (t, of, _) in enumerate(self.columns) if (t, of) == (trait, method)] for trait in traits]
        scaled = self.values / self.spread
        return Joined(
            self.authors,
            tuple((trait, method, EVERY_LAYER) for trait in traits),
            np.stack([scaled[..., place].mean(axis=-1) for place in places], axis=-1),
            np.stack([self.cosines[..., place].mean(axis=-1) for place in places], axis=-1),
        )


def spread_of(values: Floats) -> Floats:
    """The standard deviation of each column of `[authors, prompts, columns]`; never zero."""
    known = values[~np.isnan(values).any(axis=-1)]
    return np.maximum(known.std(axis=0), 1e-12) if len(known) else np.full(values.shape[-1], np.nan)


def join(paired: Sequence[Paired]) -> Joined:
    """All authors over the union of their prompts, on the columns that every author has.

    A response that lacks any of these scores has none of them here.
    """
    columns = tuple(column for column in paired[0].columns if all(column in each.columns for each in paired))
    prompts = sorted({prompt for each in paired for prompt in each.prompts})
    row_of = {prompt: row for row, prompt in enumerate(prompts)}
    values, cosines = np.full((2, len(paired), len(prompts), len(columns)), np.nan)
    for author, each in enumerate(paired):
        rows = [row_of[prompt] for prompt in each.prompts]
        places = [each.columns.index(column) for column in columns]
        difference = each.difference[:, places]
        whole = ~np.isnan(difference).any(axis=1, keepdims=True)
        values[author, rows] = np.where(whole, difference, np.nan)
        cosines[author, rows] = each.cosine_difference[:, places]
    return Joined(tuple(each.author for each in paired), columns, values, cosines)


def peers_of(variants: Mapping[str, ModelVariant]) -> dict[str, list[str]]:
    """Each audited author's peers: organisms of its own recipe that have another behaviour (leave-one-behaviour-out).

    Of any recipe where its own has fewer than three; none where those are too few as well. An organism whose `truth` is
    not known counts as having a behaviour of its own.
    """
    return {author: _peers(author, variants) for author in variants}


def _peers(author: str, variants: Mapping[str, ModelVariant]) -> list[str]:
    own = variants[author]
    others = [
        name
        for name, each in variants.items()
        if name != author and each.role == "organism" and (each.truth is None or each.truth != own.truth)
    ]
    kin = [name for name in others if variants[name].recipe == own.recipe]
    chosen = kin if len(kin) >= MIN_PEERS else others
    return chosen if len(chosen) >= MIN_PEERS else []


def against_peers(joined: Joined, peers: Peers) -> Floats:
    """Each author's differences less the median of its peers' on the same prompt: `[authors, prompts, columns]`.

    The median, not the mean: a trait's own organism is among the peers of all others, and would shift a mean on just
    that trait. NaN where an author has no peers, or none of them answered.
    """
    place = {author: row for row, author in enumerate(joined.authors)}
    centres = [_median(joined.values[[place[peer] for peer in peers[author]]]) for author in joined.authors]
    centred: Floats = joined.values - np.stack(centres)
    return centred


def _median(values: Floats) -> Floats:
    """Over the first axis of `[peers, prompts, columns]`, of those that answered; NaN where none did."""
    answered = ~np.isnan(values).all(axis=(0, 2)) if len(values) else np.zeros(values.shape[1], dtype=bool)
    medians = np.full(values.shape[1:], np.nan)
    median = np.nanmedian if np.isnan(values).any() else np.median
    if answered.any():
        medians[answered] = median(values[:, answered], axis=0)
    return medians
