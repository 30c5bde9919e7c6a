"""Paired differences between two readers of the same responses: estimates, intervals, effect sizes. Arrays only.

A quirk that fires on some prompts moves few of many paired differences, so beside their mean stands the mean of their
largest tenth. A behaviour is told from drift by comparison: with the spread of the same score over all authors and
prompts (`effect`), and with the other authors' own values (`z_others`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.readings import Paired
from interp.projections import Column
from interp.stats import Floats, bootstrap_counts, bootstrap_top_share, robust_z, top_share_mean

TOP_SHARE = 0.1
N_RESAMPLES = 1000
MIN_OTHERS = 8


@dataclass(frozen=True)
class Differences:
    """Statistics of author − clean reader, `[authors, columns]` each unless said otherwise; in residual units.

    Attributes:
        mean, mean_low, mean_high: over prompts, with the 95% bootstrap interval clustered by prompt.
        top, top_low, top_high: the same of the largest tenth of the prompts.
        sd: `[columns]`, the spread of single differences over all authors and prompts.
        z_others: `top` against the other authors' values, in their robust standard deviations.
        cosine: mean difference of the cosines.
        n_prompts: `[authors]`, how many responses had any token.
    """

    authors: tuple[str, ...]
    columns: tuple[Column, ...]
    mean: Floats
    mean_low: Floats
    mean_high: Floats
    top: Floats
    top_low: Floats
    top_high: Floats
    sd: Floats
    z_others: Floats
    cosine: Floats
    n_prompts: Floats

    @property
    def effect(self) -> Floats:
        """`top` in units of `sd`: comparable across traits and layers."""
        effect: Floats = self.top / self.sd
        return effect

    def over_layers(self, method: str) -> tuple[list[str], Floats]:
        """The traits, and each author's effect on them averaged over layers: `[authors, traits]`."""
        traits = sorted({trait for trait, of, _ in self.columns if of == method})
        places = [[i for i, (t, of, _) in enumerate(self.columns) if (t, of) == (trait, method)] for trait in traits]
        return traits, np.stack([self.effect[:, columns].mean(axis=1) for columns in places], axis=1)


def summarise(paired: Sequence[Paired], seed: int = 0) -> Differences:
    """All statistics of all authors."""
    columns = tuple(column for column in paired[0].columns if all(column in each.columns for each in paired))
    places = [[each.columns.index(column) for column in columns] for each in paired]
    differences = [each.difference[:, place] for each, place in zip(paired, places, strict=True)]
    answered = [difference[~np.isnan(difference).any(axis=1)] for difference in differences]
    cosines = [each.cosine_difference[:, place] for each, place in zip(paired, places, strict=True)]
    stats = [_of_author(difference, seed) for difference in answered]
    top = np.stack([each["top"] for each in stats])
    return Differences(
        authors=tuple(each.author for each in paired),
        columns=columns,
        **{name: np.stack([each[name] for each in stats]) for name in stats[0]},
        sd=np.maximum(np.concatenate(answered).std(axis=0), 1e-12),
        z_others=_z_against_others(top),
        cosine=np.stack([_mean_where_known(cosine) for cosine in cosines]),
        n_prompts=np.array([len(each) for each in answered]),
    )


def _of_author(difference: Floats, seed: int) -> dict[str, Floats]:
    """Estimates and interval ends for `[prompts, columns]`; every column sees the same resampled prompts."""
    values = np.ascontiguousarray(difference.T)
    counts = bootstrap_counts(values.shape[1], N_RESAMPLES, seed)
    means = values @ (counts.T / values.shape[1])
    tops = np.stack([bootstrap_top_share(row, counts, TOP_SHARE) for row in values])
    mean_low, mean_high = np.quantile(means, [0.025, 0.975], axis=1)
    top_low, top_high = np.quantile(tops, [0.025, 0.975], axis=1)
    return {
        "mean": values.mean(axis=1),
        "mean_low": mean_low,
        "mean_high": mean_high,
        "top": top_share_mean(values, TOP_SHARE),
        "top_low": top_low,
        "top_high": top_high,
    }


def _mean_where_known(values: Floats) -> Floats:
    """Column means over what is not NaN; NaN where nothing is (no cosines are kept with `--keep pooled`)."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    means: Floats = np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return means


def _z_against_others(values: Floats) -> Floats:
    """Each author's value against the other authors', column by column; NaN where there are too few of them.

    The spread of fewer than eight says little: under the null the largest |z| of many would run into the tens.
    """
    n = len(values)
    if n <= MIN_OTHERS:
        return np.full_like(values, np.nan)
    others = [np.delete(values, author, axis=0).T for author in range(n)]
    return np.stack([robust_z(values[author], others[author]) for author in range(n)])
