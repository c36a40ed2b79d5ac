"""Overlap of predicted and true top K for every K: the curve behind P@K."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.groups import Floats, Integers, TieGroups
from supertau.benchmarks.metrics.pool import check_pool


@dataclass(frozen=True, eq=False)
class OverlapCurve:
    """P@top K for K = 1..N: k, precision and chance have shape (N,); precision and chance are in [0, 1]."""

    k: Integers
    precision: Floats
    chance: Floats


def overlap_curve(score: npt.ArrayLike, truth: npt.ArrayLike) -> OverlapCurve:
    """Return P@top K for all K with chance K/N; ties in score and truth by exact expectation, as P@top K itself.

    score, truth: shape (N,), N >= 2; raises PoolError as `check_pool`. The last value is always 1. Time is
    O(N log N). A constant score gives the chance line.
    """
    x, y = check_pool(score, truth)
    n = len(x)
    k = np.arange(n + 1)
    (start_x, end_x, part_x), (start_y, end_y, part_y) = _boundaries(x), _boundaries(y)

    def reached(from_x: Integers, from_y: Integers) -> Floats:
        """Return, for K = 0..N, how many items are in by both rankings when they come in at the given K."""
        return np.cumsum(np.bincount(np.maximum(from_x, from_y), minlength=n + 1)).astype(np.float64)

    # Of the tie group at the boundary a fraction is in, so the expected overlap is bilinear in the two fractions.
    expected = (
        (1 - part_x) * (1 - part_y) * reached(end_x, end_y)
        + part_x * (1 - part_y) * reached(start_x, end_y)
        + (1 - part_x) * part_y * reached(end_x, start_y)
        + part_x * part_y * reached(start_x, start_y)
    )
    return OverlapCurve(k[1:], expected[1:] / k[1:], k[1:] / n)


def _boundaries(values: Floats) -> tuple[Integers, Integers, Floats]:
    """Return per item how many are larger and how many at least as large; per K = 0..N the fraction at the boundary."""
    groups = TieGroups(values)
    n = len(values)
    size = np.diff(np.append(groups.start, n))
    at = np.repeat(np.arange(len(size)), size)
    part = np.append((np.arange(n) - groups.start[at]) / size[at], 0.0)
    start = groups.start[groups.group]
    return start, start + size[groups.group], part
