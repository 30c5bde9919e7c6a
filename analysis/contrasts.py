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
    """Author − clean reader, `[authors, prompts, columns]`, NaN where a response is empty; and of the cosines.

    A prompt is its set and its id. `null`: the same on k random directions for each column, one more axis.
    """

    authors: tuple[str, ...]
    prompts: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    values: Floats
    cosines: Floats
    null: Floats

    @property
    def spread(self) -> Floats:
        """`[columns]`: the standard deviation of single differences, all authors and prompts together."""
        return spread_of(self.values)

    def over_layers(self, method: str) -> "Joined":
        """A column per trait: a prompt's differences in units of `spread`, averaged over a method's layers."""
        traits = sorted({trait for trait, of, _ in self.columns if of == method})
        places = [[i for i, (t, of, _) in enumerate(self.columns) if (t, of) == (trait, method)] for trait in traits]
        scaled = self.values / self.spread
        null = [self.null[..., place, :] / spread_of(self.null[..., place, :]) for place in places]
        return Joined(
            self.authors,
            self.prompts,
            tuple((trait, method, EVERY_LAYER) for trait in traits),
            np.stack([scaled[..., place].mean(axis=-1) for place in places], axis=-1),
            np.stack([self.cosines[..., place].mean(axis=-1) for place in places], axis=-1),
            np.stack([of_trait.mean(axis=-2) for of_trait in null], axis=-2),
        )

    @property
    def of_null(self) -> "Joined":
        """Its random directions as columns of their own, `[authors, prompts, columns · k]`: for what is done alike."""
        flat = self.null.reshape(*self.null.shape[:2], -1)
        columns = tuple(column for column in self.columns for _ in range(self.null.shape[-1]))
        return Joined(self.authors, self.prompts, columns, flat, np.full_like(flat, np.nan), flat[..., None][..., :0])


def spread_of(values: Floats) -> Floats:
    """The standard deviation of each column of `[authors, prompts, …]`, all of these together; never zero.

    A prompt that lacks a number lacks all.
    """
    known = values[~np.isnan(values).reshape(*values.shape[:2], -1).any(axis=-1)]
    return np.maximum(known.std(axis=0), 1e-12) if len(known) else np.full(values.shape[2:], np.nan)


def join(paired: Sequence[Paired]) -> Joined:
    """All authors over the union of their prompts, on the columns that every author has.

    A response that lacks any of these scores has none of them here.
    """
    columns = tuple(column for column in paired[0].columns if all(column in each.columns for each in paired))
    prompts = sorted({prompt for each in paired for prompt in each.prompts})
    row_of = {prompt: row for row, prompt in enumerate(prompts)}
    values, cosines = np.full((2, len(paired), len(prompts), len(columns)), np.nan)
    k = min(each.null_difference.shape[-1] for each in paired)
    null = np.full((len(paired), len(prompts), len(columns), k), np.nan, dtype=np.float32)
    for author, each in enumerate(paired):
        rows = [row_of[prompt] for prompt in each.prompts]
        places = [each.columns.index(column) for column in columns]
        difference, of_null = each.difference[:, places], each.null_difference[:, places, :k]
        lacking = np.isnan(difference).any(axis=1)
        difference[lacking], of_null[lacking] = np.nan, np.nan
        values[author, rows], null[author, rows] = difference, of_null
        cosines[author, rows] = each.cosine_difference[:, places]
    return Joined(tuple(each.author for each in paired), tuple(prompts), columns, values, cosines, null)


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
