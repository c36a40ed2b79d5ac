"""Uncertainty of a metric: over the architectures of the pool, over training runs, and of a difference.

The scheme is the ordinary percentile bootstrap over architectures. A resample holds copies, and copies are ties; that
would bias tau-a, not tau-b, which leaves out pairs tied in either ranking, so tau-b of a resample is the weighted
tau-b over pairs of distinct architectures. Unlike subsampling without replacement the resamples have the size of the
pool, so K stays what it is, for ratios and for counts. In pools of more than 2,000 Kendall's tau and Spearman's rho of
a resample come from a first-order expansion around the pool (see `expansion`, also for when they do not).

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
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import special  # the same functions as in stats, which takes a second longer to load

from supertau.benchmarks.metrics.point import METRICS, TOP_TIED, Metric, PoolError, check_pool
from supertau.benchmarks.metrics.point import metric as find_metric
from supertau.benchmarks.metrics.top import top_size
from supertau.benchmarks.metrics.weighted import Floats

LEVEL = 0.95
FEW_HITS = 10
# Fewer defined resamples than this say more about the pool being degenerate than about the value.
MIN_DEFINED = 0.9
BLOCK = 2**20
SCHEME = (
    "95 % percentile bootstrap over architectures, N of N with replacement; pairs of copies of one architecture are "
    "ties in both rankings and leave tau-b; above 2,000 architectures tau and "
    "Spearman by first-order expansion; P@K with fewer than 10 hits: joined with the Wilson interval of K trials"
)
NOT_DISTINGUISHABLE = "not distinguishable"


@dataclass(frozen=True)
class MetricValue:
    """One metric of one ranking: value with its pool interval [low, high], chance level, pool size n.

    `undefined` says why there is no value; without an undefined value, missing limits mean that over a tenth of the
    resamples had none.
    """

    key: str
    value: float | None
    low: float | None
    high: float | None
    chance: float | None
    n: int
    undefined: str | None = None

    def as_dict(self) -> dict[str, str | float | int | None]:
        """Return the fields for a record."""
        return asdict(self)


@dataclass(frozen=True)
class RunsSummary:
    """A metric over training runs: mean, sd (n - 1), and Student's 95 % interval from n >= 3; left_out had no value."""

    mean: float | None
    sd: float | None
    n: int
    low: float | None
    high: float | None
    left_out: int = 0

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the fields for a record."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """Metric of A minus metric of B on one pool, with its 95 % interval; seeds is the number of paired runs."""

    key: str
    difference: float | None
    low: float | None
    high: float | None
    distinguishable: bool
    verdict: str
    n: int
    seeds: int

    def as_dict(self) -> dict[str, str | float | int | bool | None]:
        """Return the fields for a record."""
        return asdict(self)


def evaluate(
    score: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    metrics: Sequence[str | Metric] | None = None,
    rng: np.random.Generator,
    resamples: int = 1000,
    names: Sequence[str] | None = None,
) -> list[MetricValue]:
    """Return every metric of one ranking with its pool interval, in the order asked for.

    score, truth (percent): shape (N,), N >= 2, finite. metrics: keys or entries, default all of METRICS. All metrics
    share one draw of resamples, and none depends on which others are asked for. Raises NonFiniteError with the
    positions (and `names`), PoolError for shapes, UnknownName for a metric.
    """
    x, y = check_pool(score, truth, names)
    entries = [find_metric(m) if isinstance(m, str) else m for m in (METRICS if metrics is None else metrics)]
    seed = int(rng.integers(2**63))
    values: list[float | None] = []
    reasons: list[str | None] = []
    for entry in entries:
        reason = entry.blocked(x, y)
        value = None if reason else entry.function(x, y, _ties(seed, entry))
        values.append(value)
        reasons.append(reason or (TOP_TIED if value is None else None))
    defined = [entry for entry, value in zip(entries, values, strict=True) if value is not None]
    drawn = {e.key: d[0] for e, d in zip(defined, _resample(x[None], y, defined, seed, resamples), strict=True)}
    found = []
    for entry, value, reason in zip(entries, values, reasons, strict=True):
        low, high = _limits(entry, value, drawn[entry.key], len(x)) if value is not None else (None, None)
        chance = entry.chance_of_truth(y) if entry.chance_of_truth and not reason else entry.chance(len(x))
        found.append(MetricValue(entry.key, value, low, high, chance, len(x), reason))
    return found


def runs_summary(values: Sequence[float | None]) -> RunsSummary:
    """Return mean, sd and interval over training runs of one metric; runs without a value are counted as left out."""
    known = np.array([v for v in values if v is not None], dtype=np.float64)
    if not np.isfinite(known).all():
        raise PoolError("a metric over runs must be finite; use None for a run without a value.")
    n, left_out = len(known), len(values) - len(known)
    mean = float(known.mean()) if n else None
    sd = float(known.std(ddof=1)) if n > 1 else None
    if n < 3 or mean is None or sd is None:
        return RunsSummary(mean, sd, n, None, None, left_out)
    margin = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(n)
    return RunsSummary(mean, sd, n, mean - margin, mean + margin, left_out)


def paired_difference(
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    truth: npt.ArrayLike,
    metric: str | Metric,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> Difference:
    """Return the mean over seeds of metric(A) - metric(B), with an interval paired over architectures and seeds.

    scores_a, scores_b: shape (S, N), row s of both from the same seed; truth: shape (N,), percent. Architectures are
    resampled with the same draw for all scores (percentile deviations); from S >= 2 Student's margin of the S paired
    differences is added in quadrature (variance recovery, Zou and Donner 2008). With S = 1 the interval covers the
    pool only. Raises PoolError for shapes, NonFiniteError for values.
    """
    entry = find_metric(metric) if isinstance(metric, str) else metric
    a, b = (np.atleast_2d(np.asarray(s, dtype=np.float64)) for s in (scores_a, scores_b))
    if a.shape != b.shape or a.ndim != 2 or len(a) == 0:
        raise PoolError(f"paired scores must both have shape (seeds, N), got {a.shape} and {b.shape}.")
    scores = np.concatenate([a, b])
    y = np.asarray(truth, dtype=np.float64)
    for row in scores:
        check_pool(row, y)
    seed, seeds, n = int(rng.integers(2**63)), len(a), len(y)
    values = [None if entry.blocked(x, y) else entry.function(x, y, _ties(seed, entry)) for x in scores]
    if any(v is None for v in values):
        return Difference(entry.key, None, None, None, False, "undefined: a score has no value", n, seeds)
    per_seed = np.array(values[:seeds], dtype=np.float64) - np.array(values[seeds:], dtype=np.float64)
    difference = float(per_seed.mean())
    drawn = _resample(scores, y, [entry], seed, resamples)[0]
    low, high = _percentiles((drawn[:seeds] - drawn[seeds:]).mean(axis=0))
    if low is None or high is None:
        return Difference(entry.key, difference, None, None, False, NOT_DISTINGUISHABLE, n, seeds)
    margin = 0.0
    if seeds > 1:
        margin = float(special.stdtrit(seeds - 1, (1 + LEVEL) / 2) * per_seed.std(ddof=1)) / math.sqrt(seeds)
    low = difference - math.hypot(max(difference - low, 0.0), margin)
    high = difference + math.hypot(max(high - difference, 0.0), margin)
    distinguishable = low > 0 or high < 0
    better = (difference > 0) == (entry.direction == "up")
    verdict = ("A is better" if better else "B is better") if distinguishable else NOT_DISTINGUISHABLE
    return Difference(entry.key, difference, low, high, distinguishable, verdict, n, seeds)


def _ties(seed: int, entry: Metric) -> np.random.Generator:
    """Return the tie-break generator of one metric, the same whichever other metrics are computed."""
    return np.random.default_rng([seed, zlib.crc32(entry.key.encode())])


def _draws(n: int, seed: int, resamples: int) -> Iterator[Floats]:
    """Yield blocks of resamples as counts of shape (N, B)."""
    rng = np.random.default_rng(seed)
    width = max(1, min(resamples, BLOCK // n))
    for first in range(0, resamples, width):
        b = min(width, resamples - first)
        picks = rng.integers(n, size=(b, n), dtype=np.int32) + n * np.arange(b)[:, None]
        counts = np.bincount(picks.ravel(), minlength=b * n).reshape(b, n)
        yield np.ascontiguousarray(counts.T, dtype=np.float64)


def _resample(scores: Floats, truth: Floats, entries: Sequence[Metric], seed: int, resamples: int) -> list[Floats]:
    """Return each metric on the shared resamples, shape (scores, resamples), NaN where undefined."""
    rngs = [_ties(seed + 1, entry) for entry in entries]
    prepared = [
        [entry.weighted(x, truth, rng) if entry.weighted else None for x in scores]
        for entry, rng in zip(entries, rngs, strict=True)
    ]
    values: list[list[Floats]] = [[] for _ in entries]
    for counts in _draws(len(truth), seed, resamples) if entries else ():
        rows: list[npt.NDArray[np.int64]] = []
        if any(entry.weighted is None for entry in entries):
            rows = [np.repeat(np.arange(len(truth)), c) for c in counts.T.astype(np.int64)]
        for i, (entry, rng) in enumerate(zip(entries, rngs, strict=True)):
            block = np.empty((len(scores), counts.shape[1]))
            for s, (x, weighted) in enumerate(zip(scores, prepared[i], strict=True)):
                if weighted is not None:
                    block[s] = weighted(counts)
                    continue
                for b, row in enumerate(rows):
                    drawn_x, drawn_y = x[row], truth[row]
                    value = None if entry.blocked(drawn_x, drawn_y) else entry.function(drawn_x, drawn_y, rng)
                    block[s, b] = np.nan if value is None else value
            values[i].append(block)
    return [np.concatenate(blocks, axis=1) if blocks else np.empty((len(scores), 0)) for blocks in values]


def _percentiles(drawn: Floats) -> tuple[float, float] | tuple[None, None]:
    known = drawn[~np.isnan(drawn)]
    if len(known) == 0 or len(known) < MIN_DEFINED * len(drawn):
        return None, None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _limits(entry: Metric, value: float, drawn: Floats, n: int) -> tuple[float, float] | tuple[None, None]:
    low, high = _percentiles(drawn)
    if low is None or high is None or not entry.counts_hits or entry.k is None:
        return (None, None) if low is None or high is None else (low, high)
    trials = top_size(entry.k, n)
    if trials * value >= FEW_HITS:
        return low, high
    z2 = float(special.ndtri((1 + LEVEL) / 2)) ** 2
    centre = (value + z2 / (2 * trials)) / (1 + z2 / trials)
    margin = math.sqrt(z2 * (value * (1 - value) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return max(min(low, centre - margin), 0.0), min(max(high, centre + margin), 1.0)
