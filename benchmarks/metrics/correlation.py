"""Pearson's correlation of one pool under many weightings at once."""

from __future__ import annotations

import numpy as np

from supertau.benchmarks.metrics.counts import Counts
from supertau.benchmarks.metrics.groups import Floats


def divided(above: Floats, below: Floats) -> Floats:
    """Divide correlations by their norm: NaN where the norm is 0, and no rounding beyond -1 or 1."""
    return np.clip(np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0), -1, 1)


def correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Return weighted Pearson correlations per column of weights, shape (N, B); x, y of shape (N, B) or (N, 1)."""
    total = weights.sum(axis=0)
    x = x - (x * weights).sum(axis=0) / total
    y = y - (y * weights).sum(axis=0) / total
    wx = x * weights
    spread = [(wx * x).sum(axis=0), (y * weights * y).sum(axis=0)]
    # A resample of equal values has rounding errors instead of no spread.
    scale = [1e-24 * total * np.square(v).max(axis=0) for v in (x, y)]
    norm = np.where((spread[0] > scale[0]) & (spread[1] > scale[1]), np.sqrt(spread[0] * spread[1]), 0.0)
    return divided((wx * y).sum(axis=0), norm)


class Pearson:
    """Pearson's correlation of resamples of a pool: score and truth of shape (N,), not constant."""

    def __init__(self, score: Floats, truth: Floats) -> None:
        self.x, self.y = ((v - v.mean()) / (np.abs(v - v.mean()).max() or 1.0) for v in (score, truth))
        self.moments = np.stack([np.ones(len(self.x)), self.x, self.y, self.x**2, self.y**2, self.x * self.y])

    def __call__(self, counts: Counts) -> Floats:
        """Return the correlation per resample, shape (B,); NaN where a ranking is constant."""
        total, x, y, xx, yy, xy = self.moments @ counts.table
        spread_x, spread_y = xx - x * x / total, yy - y * y / total
        # Without its outliers a resample may lie far from the mean of the pool, where moments lose their digits.
        if (spread_x < 1e-4 * xx).any() or (spread_y < 1e-4 * yy).any():
            return correlation(self.x[:, None], self.y[:, None], counts.table)
        return divided(xy - x * y / total, np.sqrt(spread_x * spread_y))
