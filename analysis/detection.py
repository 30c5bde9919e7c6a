"""Which entries of the organisms × traits table stand out: the rule, and the table that it is applied to."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from analysis.contrasts import Joined, Peers, against_peers, spread_of
from analysis.differences import N_FLIPS, TOP_SHARE, Differences, Estimates, summarise
from interp.permutations import empirical_p
from interp.stats import Floats, top_share_mean

ALPHA = 0.05
MIN_Z = 3.0


@dataclass(frozen=True)
class Entries:
    """The organisms × traits table, layers averaged: `[authors, traits]` each unless said otherwise.

    Attributes:
        differences: all statistics of the entries, raw and centred.
        centred: whether the rule looks at the centred statistics: it does when every author has peers that answered.
        sham_p: where an effect would stand among the entries of the shams (of the other shams, for a sham).
        random_p: where an effect would stand among the author's effects along all random directions, which have the
            covariance of the residuals that the vectors were fitted to. NaN where none were kept.
        sham_largest: `[authors]`, the largest entry of these shams; NaN where there are none.
        detected: what `is_detected` says.
    """

    differences: Differences
    centred: bool
    sham_p: Floats
    random_p: Floats
    sham_largest: Floats
    detected: NDArray[np.bool_]

    @property
    def authors(self) -> tuple[str, ...]:
        return self.differences.authors

    @property
    def traits(self) -> list[str]:
        return [trait for trait, _, _ in self.differences.columns]

    @property
    def estimates(self) -> Estimates:
        """Those that the rule looks at."""
        return self.differences.centred if self.centred else self.differences.raw


def is_detected(
    q: Floats, effect: Floats, sham_largest: Floats, z_others: Floats, random_p: Floats
) -> NDArray[np.bool_]:
    """The rule: q below 0.05, above every entry of every sham, more than three robust deviations from the peers, and
    above 95% of the author's own effects along random directions.

    Prompts are many, and every organism drifts a little on every trait, so that a small q alone says only that the
    difference is not zero. The others ask for more than drift: more than training shows that teaches no behaviour,
    more than other organisms of the recipe show on the same trait, and more than this organism shows on directions that
    mean nothing. Where there is no sham, fewer than eight peers, or no random direction (NaN), that part of the rule is
    left out, and the rule is weaker for it.
    """
    above_shams = np.isnan(sham_largest) | (effect > sham_largest)
    beyond_peers = np.isnan(z_others) | (z_others > MIN_Z)
    beyond_random = np.isnan(random_p) | (random_p < ALPHA)
    return (q < ALPHA) & above_shams & beyond_peers & beyond_random


def find_entries(joined: Joined, peers: Peers, method: str, shams: Sequence[str], seed: int = 0) -> Entries:
    """Test every author and trait of a method, and say what is detected."""
    over_layers = joined.over_layers(method)
    found = summarise(over_layers, peers, enough_flips(len(joined.authors) * len(over_layers.columns)), seed)
    centred = bool(np.isfinite(found.centred.effect).all())
    estimates = found.centred if centred else found.raw
    largest = np.array([_null_of(author, estimates, found, shams).max(initial=-np.inf) for author in found.authors])
    largest[np.isinf(largest)] = np.nan
    null = null_effects(over_layers, peers, centred)
    random_p = np.stack([
        empirical_p(row, of_author[~np.isnan(of_author)])
        for row, of_author in zip(estimates.effect, null, strict=True)
    ])
    detected = is_detected(estimates.q, estimates.effect, largest[:, None], found.z_others, random_p)
    return Entries(found, centred, sham_p(estimates, found, shams), random_p, largest, detected)


def null_effects(over_layers: Joined, peers: Peers, centred: bool) -> Floats:
    """`effect` along every random direction, made as an entry's is: `[authors, directions]`; NaN without answers."""
    null = over_layers.of_null
    values = against_peers(null, peers) if centred else null.values
    spread = spread_of(values)
    known = [of_author[~np.isnan(of_author).any(axis=1)] for of_author in values]
    tops = [top_share_mean(rows.T, TOP_SHARE) if len(rows) else np.full(values.shape[-1], np.nan) for rows in known]
    effects: Floats = np.stack(tops) / spread
    return effects


def sham_p(estimates: Estimates, found: Differences, shams: Sequence[str]) -> Floats:
    """Each effect's empirical p among all entries of the shams; a sham is set against the others. NaN without any."""
    nulls = [_null_of(author, estimates, found, shams) for author in found.authors]
    return np.stack([empirical_p(row, null) for row, null in zip(estimates.effect, nulls, strict=True)])


def _null_of(author: str, estimates: Estimates, found: Differences, shams: Sequence[str]) -> Floats:
    rows = [row for row, name in enumerate(found.authors) if name in shams and name != author]
    null = estimates.effect[rows].ravel()
    return null[~np.isnan(null)]


def enough_flips(n_entries: int) -> int:
    """So many that one entry alone, at the smallest p there is, passes Benjamini-Hochberg; 2,000 at least."""
    return max(N_FLIPS, ceil(n_entries / ALPHA))
