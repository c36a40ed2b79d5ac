"""Resamples of a pool as counts, and what several metrics need to know of them, computed once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.groups import Floats, Integers, TieGroups

CHUNK = 16
EACH = 128
"""A sum over one chunk costs about as much as adding so many counts in order."""


@dataclass(frozen=True, eq=False)
class Front:
    """The leading groups of a ranking in B resamples.

    items: their items in order, shape (L,); weights: copies of each item, shape (L, B); size: copies of each group,
    shape (G, B); reached: copies up to and with each group, shape (G, B).
    """

    items: Integers
    weights: Floats
    size: Floats
    reached: Floats


class Counts:
    """How often each of N architectures stands in each of B resamples: table of shape (N, B), columns of sum N."""

    def __init__(self, table: Floats) -> None:
        self.table = table
        self.n, self.resamples = table.shape
        self._fronts: dict[TieGroups, Front] = {}
        self._sizes: dict[TieGroups, Floats] = {}
        self._chunks: dict[TieGroups, Floats] = {}
        self._reached: dict[TieGroups, Floats] = {}

    @classmethod
    def once(cls, n: int) -> Counts:
        """Return the pool itself as a resample: each of n architectures once."""
        return cls(np.ones((n, 1)))

    def sizes(self, groups: TieGroups) -> Floats:
        """Return the copies in each group, largest value first, shape (groups, B)."""
        if groups not in self._sizes:
            self._sizes[groups] = groups.summed(self.table[groups.order], len(groups.start))
        return self._sizes[groups]

    def ranks(self, groups: TieGroups) -> Floats:
        """Return average ranks of each item's copies, 1 = largest, shape (N, B)."""
        size = self.sizes(groups)
        return (np.cumsum(size, axis=0) - size / 2 + 0.5)[groups.group]

    def front(self, groups: TieGroups, k: int) -> Front:
        """Return the leading groups, which hold the K best copies of every resample.

        In a resample the K best copies come from about the K + sqrt(K) best items; more are taken where this is short.
        """
        reach = k + 6 * math.isqrt(k) + 20
        while True:
            front = self._front(groups, int(np.searchsorted(groups.start, reach)))
            if len(front.items) == len(groups) or (front.reached[-1] >= k).all():
                return front
            reach *= 2

    def _front(self, groups: TieGroups, number: int) -> Front:
        end = int(groups.start[number]) if number < len(groups.start) else len(groups)
        known = self._fronts.get(groups)
        if known is None or len(known.size) < number:
            items = groups.order[:end]
            weights = self.table[items]
            size = groups.summed(weights, number)
            known = self._fronts[groups] = Front(items, weights, size, np.cumsum(size, axis=0))
        return Front(known.items[:end], known.weights[:end], known.size[:number], known.reached[:number])

    def standing(self, groups: TieGroups, group: Integers, column: Integers) -> tuple[Floats, Floats]:
        """Return how many copies stand before a group in one resample, and how many are in it.

        group and column name P pairs of a group and a resample, shape (P,), which both results have too.
        """
        if groups.forward is not None:
            before, at = self.standing(groups.forward, len(groups.start) - 1 - group, column)
            return self.n - before - at, at
        before = self._before(groups, groups.start[group], column)
        if not groups.tied:
            return before, self.table[groups.order[groups.start[group]], column]
        return before, self._before(groups, groups.start[group] + groups.size[group], column) - before

    def _before(self, groups: TieGroups, place: Integers, column: Integers) -> Floats:
        """Return the copies of the first `place` items in order: whole chunks by their sums, the rest one by one."""
        if len(place) * EACH > self.table.size:
            if groups not in self._reached:
                reached = np.zeros((self.n + 1, self.resamples))
                np.cumsum(self.table[groups.order], axis=0, out=reached[1:])
                self._reached[groups] = reached
            return self._reached[groups][place, column]
        if groups not in self._chunks:
            whole = self.n // CHUNK
            items = groups.order[: whole * CHUNK].reshape(whole, CHUNK)
            sums = np.zeros((whole + 1, self.resamples))
            for position in range(CHUNK):
                sums[1:] += self.table[items[:, position]]
            self._chunks[groups] = np.cumsum(sums, axis=0)
        chunk = place // CHUNK
        rest = chunk[:, None] * CHUNK + np.arange(CHUNK - 1)
        counted = self.table[groups.order[np.minimum(rest, self.n - 1)], column[:, None]] * (rest < place[:, None])
        return np.asarray(self._chunks[groups][chunk, column] + counted.sum(axis=1))

    def best(self, groups: TieGroups) -> tuple[Integers, npt.NDArray[np.bool_]]:
        """Return the first group with any copy, shape (B,), and whether it holds the whole resample."""
        size = self.front(groups, 1).size
        first = (size > 0).argmax(axis=0)
        return first, size[first, np.arange(self.resamples)] == self.n


Weighted = Callable[[Counts], Floats]
"""A metric of one pool, prepared: from resamples to its B values, NaN where it is undefined."""
