"""The top K of one pool, and of its resamples: what is in it, how it overlaps, what is the best in it.

All of this looks at the leading architectures alone, which is what makes it cheap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from supertau.benchmarks.metrics.counts import Counts, Front, Weighted
from supertau.benchmarks.metrics.groups import Floats, Integers, TieGroups
from supertau.benchmarks.metrics.pool import Pool
from supertau.benchmarks.metrics.tau import TauB

TIE_BREAKS = 32


def top_size(k: int | float, n: int) -> int:
    """Return the K of a pool of n: an int is K itself, a float in (0, 1] a ratio, K = max(1, floor(ratio * n))."""
    # 0.29 * 100 is 28.999..., which must not lose an architecture.
    return k if isinstance(k, int) else max(1, math.floor(k * n + 1e-9))


def top_share(values: Floats, k: int) -> Floats:
    """Return P(in the K largest) per item; items tied at the boundary share the places left equally.

    values: shape (..., N); each row along the last axis is a pool of its own.
    """
    boundary = np.partition(values, values.shape[-1] - k, axis=-1)[..., [-k]]
    above, at = values > boundary, values == boundary
    left = k - np.count_nonzero(above, axis=-1, keepdims=True)
    return np.asarray(above + at * (left / np.count_nonzero(at, axis=-1, keepdims=True)))


def overlap(pool: Pool, rng: np.random.Generator, *, k: int | float, sign: int) -> Weighted:
    """Return the expected share of the predicted top K that is in the true top K; sign -1 takes the K worst."""
    size, x, y = top_size(k, len(pool)), pool.score_groups, pool.truth_groups
    if sign < 0:
        x, y = x.reversed, y.reversed

    def share(counts: Counts) -> Floats:
        front_x, front_y = counts.front(x, size), counts.front(y, size)
        both = np.flatnonzero((x.group < len(front_x.size)) & (y.group < len(front_y.size)))
        share_x, share_y = _share(front_x, size, x.group[both]), _share(front_y, size, y.group[both])
        return np.asarray(np.einsum("ib,ib,ib->b", counts.table[both], share_x, share_y) / size)

    return share


def _share(front: Front, k: int, groups: Integers) -> Floats:
    """Return which share of the copies in each given group is in the top K, shape (groups, B)."""
    size = front.size[groups]
    return np.clip((k - (front.reached[groups] - size)) / np.maximum(size, 1), 0, 1)


def inside_top(front: Front, k: int) -> Floats:
    """Return how many copies of each leading item are in the top K, shape (L, B), where no two items are tied."""
    return np.clip(k - (front.reached - front.size), 0, front.size)


def tau_among(pool: Pool, rng: np.random.Generator, *, k: int | float, by_truth: bool) -> Weighted:
    """Return tau-b inside the true or the predicted top K, equals at its boundary in random order."""
    size, groups = top_size(k, len(pool)), pool.truth_groups if by_truth else pool.score_groups
    prepared: dict[int, TauB] = {}

    def tau(counts: Counts) -> Floats:
        front = counts.front(groups, size)
        items = front.items
        if groups.tied:
            # One random tie-break per block of resamples: enough for an interval, the point value averages its own.
            place = rng.random(len(pool))
            order = np.lexsort((place[items], groups.group[items]))
            weights = front.weights[order]
            inside = np.empty_like(weights)
            inside[order] = np.clip(size - (np.cumsum(weights, axis=0) - weights), 0, weights)
        else:
            inside = inside_top(front, size)
        if len(items) not in prepared:
            prepared[len(items)] = TauB(TieGroups(pool.score[items]), TieGroups(pool.truth[items]))
        return prepared[len(items)](Counts(inside))

    return tau


def mean_tau_among(
    score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float, by_truth: bool
) -> float | None:
    """Return tau-b inside a top K, averaged over random tie-breaks where the K-th and the next are equal."""
    size, by = top_size(k, len(score)), truth if by_truth else score
    share = top_share(by, size)
    kept = np.flatnonzero(share > 0)
    tied = np.flatnonzero(share[kept] < 1)
    inside = np.ones((len(kept), TIE_BREAKS if tied.size else 1))
    if tied.size:
        place = np.argsort(np.argsort(rng.random((tied.size, TIE_BREAKS)), axis=0), axis=0)
        inside[tied] = place < size - (len(kept) - tied.size)
    values = TauB(TieGroups(score[kept]), TieGroups(truth[kept]))(Counts(inside))
    return None if np.isnan(values).all() else float(np.nanmean(values))


@dataclass(frozen=True, eq=False)
class Best:
    """The law of the best true value in the predicted top K of each resample.

    column, level: shape (O,), a resample and the truth group that may be the best in it. outcome, taken, probability:
    shape (P,), one of these, how many copies of the group are in the top K, and how likely that is.
    """

    column: Integers
    level: Integers
    outcome: Integers
    taken: Floats
    probability: Floats

    def mean(self, values: Floats, resamples: int) -> Floats:
        """Return the expectation of values of shape (P,), per resample."""
        columns = self.column[self.outcome]
        return np.bincount(columns, self.probability * values, minlength=resamples).astype(np.float64)


def best_of_top(score: TieGroups, truth: TieGroups, counts: Counts, k: int) -> Best:
    """Return the exact law of the best of the predicted top K, with equal scores at its boundary in random order."""
    front = counts.front(score, k)
    level, columns = truth.group[front.items], np.arange(counts.resamples)
    if not score.tied:
        inside = inside_top(front, k)
        best = np.where(inside > 0, level[:, None], len(truth.start)).min(axis=0)
        copies = (inside * (level[:, None] == best)).sum(axis=0)
        return Best(columns, best, columns, copies, np.ones(len(columns)))
    weights, row = front.weights, np.arange(len(front.items))[:, None]
    boundary = (front.reached < k).sum(axis=0)
    begin, end = score.start[boundary], score.start[boundary] + score.size[boundary]
    tied = front.size[boundary, columns]
    drawn = k - (front.reached[boundary, columns] - tied)
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
    log_factorial = gammaln(np.arange(counts.n + 1) + 1.0)
    log_chance = (
        _log_choose(log_factorial, equal[pair], hits)
        + _log_choose(log_factorial, worse[pair], drawn[column[pair]] - hits)
        - _log_choose(log_factorial, tied, drawn)[column[pair]]
    )
    copies = hits.astype(np.float64) + np.where(best == floor[column], at_floor[column], 0.0)[pair]
    keep = (copies > 0) & np.isfinite(log_chance)
    return Best(column, best, pair[keep], copies[keep], np.exp(log_chance[keep]))


def best_rank(pool: Pool, rng: np.random.Generator, *, k: int | float) -> Weighted:
    """Return the expected best true rank in the predicted top K, divided by N; NaN where a ranking is constant."""
    rank = _best_place(pool, pool.truth_groups, k)
    return lambda counts: rank(counts) / len(pool)


def worst_rank(pool: Pool, rng: np.random.Generator, *, k: int | float) -> Weighted:
    """Return the expected worst true rank in the predicted top K, divided by N; NaN where a ranking is constant."""
    rank = _best_place(pool, pool.truth_groups.reversed, k)
    return lambda counts: (len(pool) + 1 - rank(counts)) / len(pool)


def _best_place(pool: Pool, truth: TieGroups, k: int | float) -> Weighted:
    size, score = top_size(k, len(pool)), pool.score_groups

    def place(counts: Counts) -> Floats:
        law = best_of_top(score, truth, counts, size)
        better, equal = (v[law.outcome] for v in counts.standing(truth, law.level, law.column))
        # The first of s items among e equal ones in random order stands at place (e + 1) / (s + 1) on average.
        mean = law.mean(better + (equal + 1) / (law.taken + 1), counts.resamples)
        return np.where(counts.best(score)[1] | counts.best(pool.truth_groups)[1], np.nan, mean)

    return place


def regret(pool: Pool, rng: np.random.Generator, *, k: int | float) -> Weighted:
    """Return the best of the pool minus the expected best of the predicted top K; NaN where a ranking is constant."""
    x, y = pool.score_groups, pool.truth_groups
    size, values = top_size(k, len(pool)), pool.truth[y.order[y.start]]

    def lost(counts: Counts) -> Floats:
        law = best_of_top(x, y, counts, size)
        best, constant = counts.best(y)
        mean = np.maximum(values[best] - law.mean(values[law.level][law.outcome], counts.resamples), 0)
        return np.where(counts.best(x)[1] | constant, np.nan, mean)

    return lost


def chance_regret(truth: Floats, k: int | float) -> float:
    """Return the expected regret of K architectures drawn at random."""
    n, size = len(truth), top_size(k, len(truth))
    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    # The m-th best is the best of K with probability C(n - m, K - 1) / C(n, K).
    worse = np.arange(n - 1, -1, -1)
    chance = np.exp(
        _log_choose(log_factorial, worse, size - 1) - _log_choose(log_factorial, np.array(n), np.array(size))
    )
    return max(float(truth.max() - chance @ np.sort(truth)[::-1]), 0.0)


def _log_choose(log_factorial: Floats, n: npt.NDArray[Any], k: npt.NDArray[Any] | int) -> Floats:
    """Return log of n over k, elementwise, for whole numbers n; -inf where k is out of range."""
    n, k = np.asarray(n, dtype=np.int64), np.asarray(k, dtype=np.int64)
    possible = (k >= 0) & (k <= n)
    m = np.where(possible, k, 0)
    return np.where(possible, log_factorial[n] - log_factorial[m] - log_factorial[n - m], -np.inf)
