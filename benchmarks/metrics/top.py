"""The top K of one pool, and of its resamples: what is in it, how it overlaps, what is the best in it.

Counts are as in `weighted`. All of this looks at the leading architectures alone, which is what makes it cheap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from supertau.benchmarks.metrics.weighted import Floats, Integers, TauB, TieGroups, Weighted

TIE_BREAKS = 32


def top_size(k: int | float, n: int) -> int:
    """Return the K of a pool of n: an int is K itself, a float in (0, 1] a ratio, K = max(1, floor(ratio * n))."""
    # 0.29 * 100 is 28.999..., which must not lose an architecture.
    return k if isinstance(k, int) else max(1, math.floor(k * n + 1e-9))


def top_share(values: Floats, k: int) -> Floats:
    """Return P(in the K largest) per item, shape (N,); items tied at the boundary share the places left equally."""
    boundary = np.partition(values, len(values) - k)[len(values) - k]
    above, at = values > boundary, values == boundary
    return above + at * ((k - np.count_nonzero(above)) / np.count_nonzero(at))


def overlap(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float, sign: int) -> Weighted:
    """Return the expected share of the predicted top K that is in the true top K; sign -1 takes the K worst."""
    size = top_size(k, len(score))
    x, y = TieGroups(sign * score), TieGroups(sign * truth)

    def share(counts: Floats) -> Floats:
        (a, share_a), (b, share_b) = x.top(counts, size), y.top(counts, size)
        both, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
        return np.asarray(np.einsum("ib,ib,ib->b", counts[both], share_a[in_a], share_b[in_b]) / size)

    return share


def tau_among(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float, by_truth: bool) -> Weighted:
    """Return tau-b inside the true or the predicted top K, equals at its boundary in random order."""
    size, groups = top_size(k, len(score)), TieGroups(truth if by_truth else score)

    def tau(counts: Floats) -> Floats:
        # One random tie-break per block of resamples: enough for an interval, the point value averages its own.
        place = rng.random(len(score))
        items, weights = groups.leading(counts, size)
        order = np.lexsort((place[items], groups.group[items]))
        items, weights = items[order], weights[order]
        taken = np.clip(size - (np.cumsum(weights, axis=0) - weights), 0, weights)
        used = np.flatnonzero(taken.any(axis=1))
        return TauB(score[items[used]], truth[items[used]])(taken[used])

    return tau


def mean_tau_among(
    score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float, by_truth: bool
) -> float | None:
    """Return tau-b inside a top K, averaged over random tie-breaks where the K-th and the next are equal."""
    size, by = top_size(k, len(score)), truth if by_truth else score
    share = top_share(by, size)
    kept = np.flatnonzero(share > 0)
    tied = np.flatnonzero(share[kept] < 1)
    taken = np.ones((len(kept), TIE_BREAKS if tied.size else 1))
    if tied.size:
        place = np.argsort(np.argsort(rng.random((tied.size, TIE_BREAKS)), axis=0), axis=0)
        taken[tied] = place < size - (len(kept) - tied.size)
    values = TauB(score[kept], truth[kept])(taken)
    return None if np.isnan(values).all() else float(np.nanmean(values))


@dataclass(frozen=True)
class Best:
    """Possible outcomes, each of shape (P,), for the best true value in the predicted top K of each resample.

    column: the resample; level: the truth group that is best; taken: how many copies of it; probability: of this.
    """

    column: Integers
    level: Integers
    taken: Floats
    probability: Floats

    def mean(self, values: Floats, resamples: int) -> Floats:
        """Return the expectation of `values`, one per outcome, per resample."""
        return np.bincount(self.column, self.probability * values, minlength=resamples).astype(np.float64)


def best_of_top(score: TieGroups, truth: TieGroups, counts: Floats, k: int) -> Best:
    """Return the exact law of the best of the predicted top K, with equal scores at its boundary in random order."""
    items, weights = score.leading(counts, k)
    level, columns, row = truth.group[items], np.arange(counts.shape[1]), np.arange(len(items))[:, None]
    reached = np.vstack([np.zeros(len(columns)), np.cumsum(weights, axis=0)])
    boundary = score.group[items[(reached[1:] < k).sum(axis=0)]]
    begin, end = score.start[boundary], score.start[boundary] + score.size[boundary]
    tied, drawn = reached[end, columns] - reached[begin, columns], k - reached[begin, columns]
    whole = drawn == tied
    begin, tied, drawn = np.where(whole, end, begin), np.where(whole, 0.0, tied), np.where(whole, 0.0, drawn)

    # What is in for certain sets a floor, which tied items may reach or pass. Outcomes are sorted, best first.
    none = len(truth.start)
    certain = weights * (row < begin)
    floor = np.where(certain > 0, level[:, None], none).min(axis=0)
    at_floor = (certain * (level[:, None] == floor)).sum(axis=0)
    able = slice(int(begin.min()), int(end.max()))
    usable = (row[able] >= begin) & (row[able] < end) & (weights[able] > 0) & (level[able, None] <= floor)
    usable_row, usable_column = np.nonzero(usable)
    floored = np.flatnonzero(floor < none)
    outcome, place = np.unique(
        np.append(usable_column * none + level[able][usable_row], floored * none + floor[floored]), return_inverse=True
    )
    column, best = np.divmod(outcome, none)
    equal = np.bincount(place, np.append(weights[able][usable], np.zeros(len(floored))))
    better_or_equal = np.cumsum(equal)
    before = (better_or_equal - equal)[np.searchsorted(column, columns)]
    worse = tied[column] - (better_or_equal - before[column])

    # Of the equal tied copies `hits` are drawn, none of the better ones, and the others from the worse.
    ways = equal.astype(np.int64) + 1
    pair = np.repeat(np.arange(len(outcome)), ways)
    hits = np.arange(len(pair)) - np.repeat(np.cumsum(ways) - ways, ways)
    column, best, equal, worse = column[pair], best[pair], equal[pair], worse[pair]
    log_chance = (
        _log_choose(equal, hits) + _log_choose(worse, drawn[column] - hits) - _log_choose(tied[column], drawn[column])
    )
    taken = hits.astype(np.float64) + np.where(best == floor[column], at_floor[column], 0.0)
    keep = (taken > 0) & np.isfinite(log_chance)
    return Best(column[keep], best[keep], taken[keep], np.exp(log_chance[keep]))


def best_rank(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float) -> Weighted:
    """Return the expected best true rank in the predicted top K, divided by N; NaN where a ranking is constant."""
    rank = _best_place(score, truth, k)
    return lambda counts: rank(counts) / len(score)


def worst_rank(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float) -> Weighted:
    """Return the expected worst true rank in the predicted top K, divided by N; NaN where a ranking is constant."""
    rank = _best_place(score, -truth, k)
    return lambda counts: (len(score) + 1 - rank(counts)) / len(score)


def _best_place(score: Floats, truth: Floats, k: int | float) -> Weighted:
    size, x, y = top_size(k, len(score)), TieGroups(score), TieGroups(truth)

    def place(counts: Floats) -> Floats:
        found = best_of_top(x, y, counts, size)
        better, equal = y.standing(counts, found.level, found.column)
        # The first of s items among e equal ones in random order stands at place (e + 1) / (s + 1) on average.
        mean = found.mean(better + (equal + 1) / (found.taken + 1), counts.shape[1])
        return np.where(x.best(counts)[1] | y.best(counts)[1], np.nan, mean)

    return place


def regret(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float) -> Weighted:
    """Return the best of the pool minus the expected best of the predicted top K; NaN where a ranking is constant."""
    x, y = TieGroups(score), TieGroups(truth)
    size, values = top_size(k, len(score)), truth[y.order[y.start]]

    def lost(counts: Floats) -> Floats:
        found = best_of_top(x, y, counts, size)
        best, constant = y.best(counts)
        mean = np.maximum(values[best] - found.mean(values[found.level], counts.shape[1]), 0)
        return np.where(x.best(counts)[1] | constant, np.nan, mean)

    return lost


def chance_regret(truth: Floats, k: int | float) -> float:
    """Return the expected regret of K architectures drawn at random."""
    n, size = len(truth), top_size(k, len(truth))
    # The m-th best is the best of K with probability C(n - m, K - 1) / C(n, K).
    worse = np.arange(n - 1, -1, -1)
    chance = np.exp(_log_choose(worse, size - 1) - _log_choose(np.array(n), size))
    return max(float(truth.max() - chance @ np.sort(truth)[::-1]), 0.0)


def _log_choose(n: npt.NDArray[Any], k: npt.NDArray[Any] | int) -> Floats:
    """Return log of n over k, elementwise; -inf where k is out of range."""
    k = np.asarray(k)
    possible = (k >= 0) & (k <= n)
    m = np.where(possible, k, 0)
    return np.where(possible, gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1), -np.inf)
