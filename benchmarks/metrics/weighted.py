"""Rank statistics of one pool under many weightings at once, for resampling.

`counts` has shape (N, B): how often each of N architectures stands in each of B resamples. One preparation of the pool
serves all resamples, which is what makes 1,000 resamples of a whole search space affordable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Weighted = Callable[[Floats], Floats]


class TieGroups:
    """Groups of equal values, largest first, for weighted counting: built from values of shape (N,).

    order: the items, largest value first; group: the group number of each item; start: where in `order` each group
    begins; size: how many items each group has.
    """

    def __init__(self, values: Floats) -> None:
        self.order = np.argsort(-values, kind="stable")
        opens = np.append(True, np.diff(values[self.order]) != 0)
        self.start = np.flatnonzero(opens)
        self.size = np.diff(np.append(self.start, len(values)))
        self.group = np.empty(len(values), dtype=np.int64)
        self.group[self.order] = np.cumsum(opens) - 1

    def sizes(self, counts: Floats) -> Floats:
        """Return the weight of each group, largest value first, shape (groups, B)."""
        return self._summed(counts[self.order], 0, len(self.start))

    def ranks(self, counts: Floats) -> Floats:
        """Return average ranks of each item's copies, 1 = largest, shape (N, B)."""
        size = self.sizes(counts)
        return (np.cumsum(size, axis=0) - size / 2 + 0.5)[self.group]

    def leading(self, counts: Floats, k: int) -> tuple[Integers, Floats]:
        """Return the leading items, in whole groups, that hold the top K of every resample, and their weights (L, B).

        In a resample the K best copies come from about the K + sqrt(K) best items; more are taken where this is short.
        """
        reach = k + 6 * math.isqrt(k) + 20
        while True:
            groups = int(np.searchsorted(self.start, reach))
            items = self.order[: self.start[groups] if groups < len(self.start) else None]
            weights = counts[items]
            if len(items) == len(self.order) or (weights.sum(axis=0) >= k).all():
                return items, weights
            reach *= 2

    def top(self, counts: Floats, k: int) -> tuple[Integers, Floats]:
        """Return the leading items and the share of each one's copies that is in the top K, shape (L, B)."""
        items, weights = self.leading(counts, k)
        groups = int(self.group[items[-1]]) + 1
        size = self._summed(weights, 0, groups)
        share = np.clip((k - (np.cumsum(size, axis=0) - size)) / np.maximum(size, 1), 0, 1)
        return items, share if groups == len(items) else np.repeat(share, self.size[:groups], axis=0)

    def standing(self, counts: Floats, group: Integers, column: Integers) -> tuple[Floats, Floats]:
        """Return the weight before each given group in the resample of the given column, and of the group itself.

        group and column have one shape (P,), which the results have too; every resample has the size N of the pool.
        """
        first, last = int(group.min()), int(group.max()) + 1
        begin, end = self.start[first], self.start[last - 1] + self.size[last - 1]
        size = self._summed(counts[self.order[begin:end]], first, last)
        reached = np.cumsum(size, axis=0)
        if begin <= len(self.order) - end:
            before = counts[self.order[:begin]].sum(axis=0)
        else:
            before = len(self.order) - counts[self.order[end:]].sum(axis=0) - reached[-1]
        at = size[group - first, column]
        return before[column] + reached[group - first, column] - at, at

    def best(self, counts: Floats) -> tuple[Integers, npt.NDArray[np.bool_]]:
        """Return the first group with any weight, shape (B,), and whether it holds the whole resample of size N."""
        items, weights = self.leading(counts, 1)
        size = self._summed(weights, 0, int(self.group[items[-1]]) + 1)
        first = (size > 0).argmax(axis=0)
        return first, size[first, np.arange(size.shape[1])] == len(self.order)

    def _summed(self, weights: Floats, first: int, last: int) -> Floats:
        """Return sums per group for the groups first to last - 1, from the weights of their items in order."""
        start = self.start[first:last] - self.start[first]
        return weights if len(start) == len(weights) else np.add.reduceat(weights, start, axis=0)


def _blocks(groups: TieGroups, width: int) -> Integers:
    """Return a block number per item: about `width` neighbours each, and no tie group split over two blocks."""
    large = groups.size > width
    window = groups.start // width
    opens = np.ones(len(large), dtype=np.int64)
    opens[1:] = (np.diff(window) > 0) | large[1:] | large[:-1]
    return np.asarray((np.cumsum(opens) - 1)[groups.group])


class TauB:
    """Kendall's tau-b of one pool under many weightings: score and truth of shape (N,).

    The pairs are summed in a grid of blocks of neighbours in score and in truth: pairs that differ in both blocks are
    counted from block sums, the others one by one. Copies of one architecture are tied in both rankings, and tau-b
    leaves pairs tied in a ranking out of the numerator and of that ranking's normalisation, so copies never count.
    """

    def __init__(self, score: Floats, truth: Floats, width: int = 128) -> None:
        self.n = len(score)
        self.groups = TieGroups(score), TieGroups(truth)
        rows, columns = (_blocks(groups, width) for groups in self.groups)
        self.shape = int(rows.max()) + 1, int(columns.max()) + 1
        self.cell = rows * self.shape[1] + columns
        self.by_cell = np.argsort(self.cell, kind="stable")
        self.cells, self.cell_start = np.unique(self.cell[self.by_cell], return_index=True)
        self.near: list[tuple[Integers, npt.NDArray[np.int8]]] = []
        for axis, (block, other) in enumerate(((rows, columns), (columns, rows))):
            order = np.argsort(block, kind="stable")
            for items in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
                values = (score, truth)[axis][items]
                if (values == values[0]).all():
                    continue
                sign = _signs(score[items]) * _signs(truth[items])
                if axis == 1:  # pairs that share both blocks were counted on the first axis
                    sign *= other[items][:, None] != other[items]
                self.near.append((items, sign))

    def __call__(self, counts: Floats) -> Floats:
        """Return tau-b for counts of shape (N, B), shape (B,); NaN where a ranking is constant."""
        width = counts.shape[1]
        sums = np.zeros((self.shape[0] * self.shape[1], width))
        sums[self.cells] = np.add.reduceat(counts[self.by_cell], self.cell_start, axis=0)
        grid = sums.reshape(*self.shape, width)
        twice = np.einsum("ijb,ijb->b", grid, self._far(grid))
        for items, sign in self.near:
            weights = counts[items]
            twice += np.einsum("ib,ib->b", weights, sign.astype(np.float64) @ weights)
        total = counts.sum(axis=0) ** 2
        untied = [np.maximum(total - (g.sizes(counts) ** 2).sum(axis=0), 0) for g in self.groups]
        return _divide(twice, np.sqrt(untied[0] * untied[1]))

    def balance(self) -> Floats:
        """Return the number of concordant minus discordant pairs each item is in, shape (N,)."""
        grid = np.bincount(self.cell, minlength=math.prod(self.shape)).astype(np.float64).reshape(*self.shape, 1)
        found = self._far(grid).ravel()[self.cell]
        for items, sign in self.near:
            found[items] += sign.sum(axis=1, dtype=np.float64)
        return found

    def _far(self, grid: Floats) -> Floats:
        """Return the concordant minus discordant weight of each cell of a grid (R, C, B) with cells in other blocks."""
        rows, columns = (_signs(np.arange(m)).astype(np.float64) for m in self.shape)
        return columns @ (rows @ grid.reshape(self.shape[0], -1)).reshape(grid.shape)


def _signs(values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    column = values[:, None]
    return np.subtract(column > values, column < values, dtype=np.int8)


def _divide(above: Floats, below: Floats) -> Floats:
    """Divide correlations by their norm: NaN where the norm is 0, and no rounding beyond -1 or 1."""
    return np.clip(np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0), -1, 1)


def correlation(x: Floats, y: Floats, counts: Floats) -> Floats:
    """Return weighted Pearson correlations per column; x, y of shape (N, B) or (N, 1)."""
    total = counts.sum(axis=0)
    x = x - (x * counts).sum(axis=0) / total
    y = y - (y * counts).sum(axis=0) / total
    wx = x * counts
    spread = [(wx * x).sum(axis=0), (y * counts * y).sum(axis=0)]
    # A resample of equal values has rounding errors instead of no spread.
    scale = [1e-24 * total * np.square(v).max(axis=0) for v in (x, y)]
    norm = np.where((spread[0] > scale[0]) & (spread[1] > scale[1]), np.sqrt(spread[0] * spread[1]), 0.0)
    return _divide((wx * y).sum(axis=0), norm)


class Pearson:
    """Pearson's correlation of one pool under many weightings: score and truth of shape (N,), not constant."""

    def __init__(self, score: Floats, truth: Floats) -> None:
        self.x, self.y = ((v - v.mean()) / (np.abs(v - v.mean()).max() or 1.0) for v in (score, truth))
        self.moments = np.stack([np.ones(len(self.x)), self.x, self.y, self.x**2, self.y**2, self.x * self.y])

    def __call__(self, counts: Floats) -> Floats:
        """Return the correlation for counts of shape (N, B), shape (B,); NaN where a ranking is constant."""
        total, x, y, xx, yy, xy = self.moments @ counts
        spread_x, spread_y = xx - x * x / total, yy - y * y / total
        # Without its outliers a resample may lie far from the mean of the pool, where moments lose their digits.
        if (spread_x < 1e-4 * xx).any() or (spread_y < 1e-4 * yy).any():
            return correlation(self.x[:, None], self.y[:, None], counts)
        return _divide(xy - x * y / total, np.sqrt(spread_x * spread_y))
