"""Paired differences between two readers of the same responses: estimates, intervals, effects, p. Arrays only.

A quirk that fires on some prompts moves few of many paired differences, so beside their mean stands the mean of their
largest tenth. Everything is given twice: of author − clean reader (`raw`), and of that less what the author's
peers have in common (`centred`).
"""

from dataclasses import dataclass, fields

import numpy as np

from analysis.contrasts import Joined, Peers, against_peers, spread_of
from interp.intervals import mean_ends, top_ends
from interp.permutations import (
    benjamini_hochberg,
    flipped_means,
    flipped_tops,
    furthest,
    max_adjusted_p,
    permutation_p,
    sign_flips,
)
from interp.projections import Column
from interp.stats import Floats, bootstrap_counts, robust_z, top_share_mean

TOP_SHARE = 0.1
N_RESAMPLES = 1000
N_FLIPS = 2000
MIN_OTHERS = 8


@dataclass(frozen=True)
class Estimates:
    """What is known of each author's differences, `[authors, columns]` each; NaN where there are none.

    Attributes:
        mean, mean_low, mean_high: over prompts, with the 95% percentile bootstrap interval clustered by prompt.
        mean_p: two-sided, by sign flips of whole prompts.
        top, top_low, top_high: the mean of the largest tenth of the prompts, with its 95% bootstrap-t interval.
        top_p: one-sided, by the same flips.
        p: one-sided, of `mean` or `top`, whichever is further out in its own flips, corrected for the choice.
        p_max: `p` corrected for having searched all columns of the author.
        sd: the standard deviation of single differences over all authors and prompts: the same for every author.
    """

    mean: Floats
    mean_low: Floats
    mean_high: Floats
    mean_p: Floats
    top: Floats
    top_low: Floats
    top_high: Floats
    top_p: Floats
    p: Floats
    p_max: Floats
    sd: Floats

    @property
    def effect(self) -> Floats:
        """`top` in units of `sd`: comparable across traits and layers."""
        effect: Floats = self.top / self.sd
        return effect

    @property
    def mean_effect(self) -> Floats:
        """`mean` in units of `sd`."""
        effect: Floats = self.mean / self.sd
        return effect

    @property
    def mean_q(self) -> Floats:
        """`mean_p` with the false discovery rate over the table (Benjamini & Hochberg)."""
        return benjamini_hochberg(self.mean_p)

    @property
    def top_q(self) -> Floats:
        """`top_p` likewise."""
        return benjamini_hochberg(self.top_p)

    @property
    def q(self) -> Floats:
        """`p` likewise."""
        return benjamini_hochberg(self.p)


@dataclass(frozen=True)
class Differences:
    """Statistics of every author and column, `[authors, columns]` each unless said otherwise.

    Attributes:
        raw: of author − clean reader, in residual units (in standard deviations where layers are averaged).
        centred: of that less the median of the author's peers, prompt by prompt.
        z_others: `raw.top` against the peers' values, in their robust standard deviations.
        cosine: mean difference of the cosines.
        n_prompts, n_peers: `[authors]`, how many responses had any token; how many peers it is set against.
    """

    authors: tuple[str, ...]
    columns: tuple[Column, ...]
    raw: Estimates
    centred: Estimates
    z_others: Floats
    cosine: Floats
    n_prompts: Floats
    n_peers: Floats


def everyone_else(joined: Joined) -> dict[str, list[str]]:
    """Peers where nothing is known of recipes and behaviours."""
    return {author: [other for other in joined.authors if other != author] for author in joined.authors}


def summarise(joined: Joined, peers: Peers, n_flips: int = N_FLIPS, seed: int = 0) -> Differences:
    """All statistics of all authors."""
    raw = estimate(joined.values, n_flips, seed)
    place = {author: row for row, author in enumerate(joined.authors)}
    rows = [[place[peer] for peer in peers[author]] for author in joined.authors]
    return Differences(
        authors=joined.authors,
        columns=joined.columns,
        raw=raw,
        centred=estimate(against_peers(joined, peers), n_flips, seed),
        z_others=np.stack([_z_against(raw.top, author, others) for author, others in enumerate(rows)]),
        cosine=np.stack([_mean_where_known(cosines) for cosines in joined.cosines]),
        n_prompts=(~np.isnan(joined.values).any(axis=-1)).sum(axis=-1),
        n_peers=np.array([len(others) for others in rows]),
    )


def estimate(values: Floats, n_flips: int = N_FLIPS, seed: int = 0) -> Estimates:
    """Estimates, intervals and p of `[authors, prompts, columns]`; rows with a NaN are left out."""
    sd = spread_of(values)
    of_authors = [_of_author(each[~np.isnan(each).any(axis=1)], sd, n_flips, seed) for each in values]
    return Estimates(**{
        field.name: np.stack([each[field.name] for each in of_authors]) for field in fields(Estimates)
    })


def _of_author(values: Floats, sd: Floats, n_flips: int, seed: int) -> dict[str, Floats]:
    """One author's `[prompts, columns]`; every column sees the same resampled and the same flipped prompts."""
    if not len(values):
        return {field.name: np.full(values.shape[1], np.nan) for field in fields(Estimates)}
    counts, flips = bootstrap_counts(len(values), N_RESAMPLES, seed), sign_flips(len(values), n_flips, seed)
    means, tops = flipped_means(values, flips), flipped_tops(values, flips, TOP_SHARE)
    mean, top = values.mean(axis=0), top_share_mean(values.T, TOP_SHARE)
    either = furthest([mean, top], [means, tops])
    mean_interval, top_interval = mean_ends(values, counts), top_ends(values, counts, TOP_SHARE)
    return {
        "mean": mean,
        "mean_low": mean_interval.low,
        "mean_high": mean_interval.high,
        "mean_p": permutation_p(np.abs(mean), np.abs(means), flips.exact),
        "top": top,
        "top_low": top_interval.low,
        "top_high": top_interval.high,
        "top_p": permutation_p(top, tops, flips.exact),
        "p": permutation_p(either.observed, either.null, flips.exact),
        "p_max": max_adjusted_p(either.observed, either.null, flips.exact),
        "sd": sd,
    }


def _mean_where_known(values: Floats) -> Floats:
    """Column means over what is not NaN; NaN where nothing is (no cosines are kept with `--keep pooled`)."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    means: Floats = np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return means


def _z_against(values: Floats, author: int, others: list[int]) -> Floats:
    """An author's value against the others', column by column; NaN where there are too few of them.

    The spread of fewer than eight says little: under the null the largest |z| of many would run into the tens.
    """
    if len(others) < MIN_OTHERS:
        return np.full(values.shape[1], np.nan)
    return robust_z(values[author], values[others].T)
