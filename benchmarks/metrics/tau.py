"""Kendall's tau-b of one pool: each architecture's part in it, and tau-b of many resamples at once.

Copies of one architecture are tied in both rankings, and tau-b leaves pairs tied in a ranking out of the numerator and
of that ranking's normalisation, so copies never count. All sums are of integers, and exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.correlation import divided
from supertau.benchmarks.metrics.counts import Counts
from supertau.benchmarks.metrics.groups import Floats, Integers, TieGroups

BLOCK = 64
SMALL, LARGE = 64, 128


def balance(x: TieGroups, y: TieGroups) -> Floats:
    """Return the number of concordant minus discordant pairs each item is in, shape (N,); time is O(N log N)."""
    n = len(x)
    # In this sequence all pairs that are equal in x or in y rise; they are taken off again.
    both = x.group * n + y.group
    order = np.argsort(both)
    rank = np.empty(n, dtype=np.int64)
    rank[np.argsort(y.group[order] * n + np.arange(n))] = np.arange(n)
    rising = np.empty(n)
    rising[order] = _rising(rank)
    opens = np.flatnonzero(np.append(True, np.diff(both[order]) != 0))
    equal = np.empty(n)
    equal[order] = np.repeat(size := np.diff(np.append(opens, n)), size)
    tied = x.size[x.group] + y.size[y.group] - equal - 1
    return 2 * rising - (n - 1) - tied


def _rising(rank: Integers) -> Integers:
    """Return in how many rising pairs each place of a sequence is, given its ranks, a permutation of 0 to N - 1.

    The lower and the upper half of the ranks are told apart, each in the order of the sequence, then the halves of each
    half, and so on: pairs across halves are counted from how many came before, pairs of the last ranks one by one.
    """
    n, padded = len(rank), BLOCK
    while padded < n:
        padded *= 2
    value = np.arange(padded, dtype=np.int32)  # what fills the last ranks comes last, above all others
    value[:n] = rank
    place, count = np.arange(padded, dtype=np.int32), np.zeros(padded, dtype=np.int32)
    half = padded // 2
    while half >= BLOCK:
        upper = value.reshape(-1, 2 * half) >> (half.bit_length() - 1) & 1
        lower = 1 - upper
        lower_before = np.cumsum(lower, axis=1, dtype=np.int32) - lower
        # An upper rank rises from the lower ones before it, a lower one to the upper ones after it: these are `half`
        # less those before it, which are its position less the lower ones before.
        half_less_position = np.arange(half, -half, -1, dtype=np.int32)
        count += np.asarray(lower_before + lower * half_less_position, dtype=np.int32).ravel()
        moved = np.stack([np.flatnonzero(side).reshape(-1, half) for side in (upper == 0, upper == 1)], axis=1).ravel()
        value, place, count = value[moved], place[moved], count[moved]
        half //= 2
    small = np.ascontiguousarray((value.reshape(-1, BLOCK) % BLOCK).astype(np.int8).T)
    position = np.arange(BLOCK)
    rises = (small[:, None] < small) ^ (position[:, None] > position)[:, :, None]
    count += np.asarray(np.add.reduce(rises.view(np.int8), axis=0, dtype=np.int8), dtype=np.int32).T.ravel()
    found = np.empty(padded, dtype=np.int64)
    found[place] = count
    return found[:n] - (padded - n)


class TauB:
    """Kendall's tau-b of resamples of a pool, given the tie groups of its two rankings.

    The pairs are summed in a grid of blocks of neighbours in score and in truth: pairs that differ in both blocks are
    counted from block sums, the others one by one.
    """

    def __init__(self, x: TieGroups, y: TieGroups, width: int | None = None) -> None:
        self.groups = x, y
        width = width or (SMALL if len(x) <= 4000 else LARGE)
        rows, columns = (_blocks(groups, width) for groups in self.groups)
        self.shape = int(rows.max()) + 1, int(columns.max()) + 1
        cell = rows * self.shape[1] + columns
        self.by_cell = np.argsort(cell)
        self.cells, self.cell_start = np.unique(cell[self.by_cell], return_index=True)
        small = tuple(groups.group.astype(np.int32) for groups in self.groups)
        self.near: list[tuple[Integers, npt.NDArray[np.float32]]] = []
        for axis, (block, other) in enumerate(((rows, columns), (columns, rows))):
            order = np.argsort(block)
            for items in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
                values = small[axis][items]
                if (values == values[0]).all():
                    continue
                sign = _signs(small[0][items]) * _signs(small[1][items])
                if axis == 1:  # pairs that share both blocks were counted on the first axis
                    sign *= other[items][:, None] != other[items]
                # Sums of fewer than 2^24 copies are exact in single precision, which is twice as fast.
                self.near.append((items, sign.astype(np.float32)))

    def __call__(self, counts: Counts) -> Floats:
        """Return tau-b per resample, shape (B,); NaN where a ranking is constant."""
        table, width = counts.table, counts.resamples
        sums = np.zeros((math.prod(self.shape), width))
        sums[self.cells] = np.add.reduceat(table[self.by_cell], self.cell_start, axis=0)
        grid = sums.reshape(*self.shape, width)
        far = _earlier_minus_later(_earlier_minus_later(grid, 0), 1)
        twice = np.einsum("ijb,ijb->b", grid, far)
        single = table.astype(np.float32)
        for items, sign in self.near:
            weights = single[items]
            twice += np.einsum("ib,ib->b", weights, sign @ weights, dtype=np.float64)
        total = table.sum(axis=0) ** 2
        untied = [np.maximum(total - (counts.sizes(g) ** 2).sum(axis=0), 0) for g in self.groups]
        return divided(twice, np.sqrt(untied[0] * untied[1]))


def _blocks(groups: TieGroups, width: int) -> Integers:
    """Return a block number per item: about `width` neighbours each, and no tie group split over two blocks."""
    large = groups.size > width
    window = groups.start // width
    opens = np.ones(len(large), dtype=np.int64)
    opens[1:] = (np.diff(window) > 0) | large[1:] | large[:-1]
    return np.asarray((np.cumsum(opens) - 1)[groups.group])


def _earlier_minus_later(grid: Floats, axis: int) -> Floats:
    """Return, per entry, the sum of the entries before it minus the sum of those after it along an axis."""
    return 2 * np.cumsum(grid, axis=axis) - grid - grid.sum(axis=axis, keepdims=True)


def _signs(values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    column = values[:, None]
    return np.subtract(column > values, column < values, dtype=np.int8)
