"""The bootstrap over architectures: resamples, shared by all metrics, and the intervals made of them.

The scheme is the ordinary percentile bootstrap. A resample contains copies, and copies are ties; that would bias tau-a,
not tau-b, which leaves out pairs tied in either ranking, so tau-b of a resample is the weighted tau-b over pairs of
distinct architectures. Unlike subsampling without replacement the resamples have the size of the pool, so K stays what
it is, for ratios and for counts. In pools of more than 2,000 Kendall's tau and Spearman's rho of a resample come from a
first-order expansion around the pool (see `expansion`, also for when they do not).

Coverage of the 95 % interval, simulated on bivariate normal pools with correlation 0 to .95 (1,500 pools of N = 100,
400 of N = 1,000): Kendall's tau 94-97 %, Spearman 93-97 %, Pearson 92-97 % (lowest at N = 100 without association).
P@top 5 % is a count of hits among K = floor(N / 20): the percentile interval alone covers the population value only
56 % of the time at N = 100 without association, where no hit is the likeliest outcome; hence the Wilson interval
joined to it where hits are few. With it coverage is 98-100 %: too wide rather than too narrow, at N = 1,000 by a tenth
at correlation .5 and by a quarter at .95. Metrics that rest on one extreme architecture (best and worst rank, regret)
and tau inside a top 10 have no bootstrap with a coverage guarantee; theirs shows what neighbouring pools give.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # the same functions as in stats, which takes a second longer to load

from supertau.benchmarks.metrics.counts import Counts, Weighted
from supertau.benchmarks.metrics.entry import Metric
from supertau.benchmarks.metrics.groups import Floats
from supertau.benchmarks.metrics.percentiles import LEVEL, limits_where_defined
from supertau.benchmarks.metrics.pool import Pool
from supertau.benchmarks.metrics.top import top_size

FEW_HITS = 10
BLOCK = 2**20
SCHEME = (
    "95 % percentile bootstrap over architectures, N of N with replacement; pairs of copies of one architecture are "
    "ties in both rankings and leave tau-b; above 2,000 architectures tau and "
    "Spearman by first-order expansion; P@K with fewer than 10 hits: joined with the Wilson interval of K trials"
)


def tie_breaks(seed: int, entry: Metric) -> np.random.Generator:
    """Return the tie-break generator of one metric, the same whichever other metrics are computed."""
    return np.random.default_rng([seed, zlib.crc32(entry.key.encode())])


def draws(n: int, seed: int, resamples: int) -> Iterator[Counts]:
    """Yield the resamples of a pool of n in blocks; they depend on n, seed and their number alone."""
    rng = np.random.default_rng(seed)
    width = max(1, min(resamples, BLOCK // n))
    for first in range(0, resamples, width):
        b = min(width, resamples - first)
        picks = rng.integers(n, size=(b, n), dtype=np.int32)
        counts = np.empty((b, n), dtype=np.int32)
        for row, picked in zip(counts, picks, strict=True):
            row[:] = np.bincount(picked, minlength=n)
        yield Counts(np.ascontiguousarray(counts.T, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Job:
    """One metric of one ranking to be resampled.

    weighted: what the metric prepared, None where its function is called per resample; rng: breaks ties.
    """

    entry: Metric
    pool: Pool
    weighted: Weighted | None
    rng: np.random.Generator

    @classmethod
    def of(cls, entry: Metric, pool: Pool, rng: np.random.Generator) -> Job:
        """Prepare a metric for a pool on which it has a value."""
        return cls(entry, pool, entry.weighted(pool, rng) if entry.weighted else None, rng)

    def __call__(self, counts: Counts) -> Floats:
        """Return the metric on resamples of the pool, shape (B,), NaN where undefined."""
        if self.weighted is not None:
            return self.weighted(counts)
        values = np.empty(counts.resamples)
        for b, copies in enumerate(counts.table.T.astype(np.int64)):
            copied = Pool(np.repeat(self.pool.score, copies), np.repeat(self.pool.truth, copies))
            value = self.entry.value(copied, self.rng)
            values[b] = np.nan if value is None else value
        return values


def resample(jobs: Sequence[Job], seed: int, resamples: int) -> list[Floats]:
    """Return each job's metric on the shared resamples of its pool, shape (resamples,); all pools are of one size."""
    if not jobs:
        return []
    n = len(jobs[0].pool)
    values: list[list[Floats]] = [[] for _ in jobs]
    # Counts of the leading architectures are kept: those that look furthest come first.
    order = sorted(range(len(jobs)), key=lambda i: -top_size(jobs[i].entry.k or 0, n))
    for counts in draws(n, seed, resamples):
        for i in order:
            values[i].append(jobs[i](counts))
    return [np.concatenate(blocks) if blocks else np.empty(0) for blocks in values]


def interval(entry: Metric, value: float, drawn: Floats, n: int) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of a value in a pool of n from its values on resamples, shape (B,)."""
    low, high = limits_where_defined(drawn)
    if low is None or high is None or not entry.counts_hits or entry.k is None:
        return (None, None) if low is None or high is None else (low, high)
    trials = top_size(entry.k, n)
    if trials * value >= FEW_HITS:
        return low, high
    z2 = float(special.ndtri((1 + LEVEL) / 2)) ** 2
    centre = (value + z2 / (2 * trials)) / (1 + z2 / trials)
    margin = math.sqrt(z2 * (value * (1 - value) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return max(min(low, centre - margin), 0.0), min(max(high, centre + margin), 1.0)
