"""Equal values of a ranking, grouped: what tie-aware counting over resamples is built on."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FEW = 16


class TieGroups:
    """Groups of equal values, largest first, built from values of shape (N,).

    order: the items, largest value first, equal ones by position; group: the group number of each item; start: where in
    `order` each group begins; size: how many items each group has; tied: whether any two values are equal. `forward` is
    None, or the groups that these are the reversal of.
    """

    def __init__(self, values: Floats, forward: TieGroups | None = None) -> None:
        n = len(values)
        self.forward = forward
        order = np.argsort(-values)
        opens = np.append(True, np.diff(values[order]) != 0)
        self.start = np.flatnonzero(opens)
        self.size = np.diff(np.append(self.start, n))
        self.group = np.empty(n, dtype=np.int64)
        self.group[order] = np.cumsum(opens) - 1
        self.tied = len(self.start) < n
        # The default sort is several times as fast as the stable one; only ties notice, and they are sorted again.
        self.order: Integers = np.argsort(self.group * n + np.arange(n)) if self.tied else order

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def reversed(self) -> TieGroups:
        """The same groups, smallest first."""
        return TieGroups(self.group.astype(np.float64), forward=self)

    @cached_property
    def ranks(self) -> Floats:
        """Average rank of each item, 1 = largest, shape (N,)."""
        return (self.start + (self.size + 1) / 2)[self.group]

    @cached_property
    def _longest(self) -> int:
        return int(self.size.max())

    def summed(self, weights: Floats, number: int) -> Floats:
        """Return sums per group for the first `number` groups, from the weights of their items in order, (L, B)."""
        if number == len(weights):
            return weights
        start, size = self.start[:number], self.size[:number]
        if self._longest > FEW:
            return np.add.reduceat(weights, start, axis=0)
        sums = weights[start]
        for position in range(1, self._longest):
            longer = np.flatnonzero(size > position)
            sums[longer] += weights[start[longer] + position]
        return sums
