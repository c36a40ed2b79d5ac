"""Rank statistics of one pool under many weightings at once, for resampling.

`counts` has shape (N, B): how often each of N architectures stands in each of B resamples. One preparation of the pool
serves all resamples, which is what makes 1,000 resamples of a whole search space affordable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Weighted = Callable[[Floats], Floats]


class TieGroups:
    """Groups of equal values, for weighted counting: built from values of shape (N,)."""

    def __init__(self, values: Floats) -> None:
        _, self.group = np.unique(-values, return_inverse=True)
        self.order = np.argsort(self.group, kind="stable")
        self.start = np.searchsorted(self.group[self.order], np.arange(self.group.max() + 1))

    def sizes(self, counts: Floats) -> Floats:
        """Return the weight of each group, largest value first, shape (groups, B)."""
        return np.add.reduceat(counts[self.order], self.start, axis=0)

    def share(self, counts: Floats, k: int) -> Floats:
        """Return the share of each item's copies that is in the top K, shape (N, B)."""
        size = self.sizes(counts)
        before = np.cumsum(size, axis=0) - size
        return np.clip((k - before) / np.maximum(size, 1), 0, 1)[self.group]

    def ranks(self, counts: Floats) -> Floats:
        """Return average ranks of each item's copies, 1 = largest, shape (N, B)."""
        size = self.sizes(counts)
        return (np.cumsum(size, axis=0) - size / 2 + 0.5)[self.group]


def _blocks(groups: TieGroups, width: int) -> Integers:
    """Return a block number per item: about `width` neighbours each, and no tie group split over two blocks."""
    size = np.diff(np.append(groups.start, len(groups.group)))
    large = size > width
    window = groups.start // width
    opens = np.ones(len(size), dtype=np.int64)
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
        cell = rows * self.shape[1] + columns
        self.by_cell = np.argsort(cell, kind="stable")
        self.cells, self.cell_start = np.unique(cell[self.by_cell], return_index=True)
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
        rows, columns = (_signs(np.arange(m)).astype(np.float64) for m in self.shape)
        far = columns @ (rows @ grid.reshape(self.shape[0], -1)).reshape(grid.shape)
        twice = np.einsum("ijb,ijb->b", grid, far)
        for items, sign in self.near:
            weights = counts[items]
            twice += np.einsum("ib,ib->b", weights, sign.astype(np.float64) @ weights)
        total = counts.sum(axis=0) ** 2
        untied = [np.maximum(total - (g.sizes(counts) ** 2).sum(axis=0), 0) for g in self.groups]
        return _divide(twice, np.sqrt(untied[0] * untied[1]))


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
