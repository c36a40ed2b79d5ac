"""Uncertainty of a metric over training runs, and of the difference between two estimators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import special  # the same functions as in stats, which takes a second longer to load

from supertau.benchmarks.metrics.bootstrap import Job, resample, tie_breaks
from supertau.benchmarks.metrics.entry import Metric
from supertau.benchmarks.metrics.percentiles import LEVEL, limits_where_defined
from supertau.benchmarks.metrics.pool import Pool, PoolError, Truth, check_pool
from supertau.benchmarks.metrics.registry import metric as find_metric
from supertau.search_spaces.errors import SupertauError

NOT_DISTINGUISHABLE = "not distinguishable"


@dataclass(frozen=True)
class RunsSummary:
    """A metric over training runs: mean, sd (n - 1), and Student's 95 % interval from n >= 3; left_out: no value."""

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
    pool only. Raises PoolError for shapes, NonFiniteError for values, SupertauError for a metric with a protocol.
    """
    entry = find_metric(metric) if isinstance(metric, str) else metric
    if entry.protocol is not None:
        raise SupertauError(
            f"'{entry.key}' cannot be compared in pairs: it draws pools of its own and has no value on resamples of "
            "the architectures. Compare by another metric, e.g. kendall_tau or p_at_top_5pct."
        )
    a, b = (np.atleast_2d(np.asarray(s, dtype=np.float64)) for s in (scores_a, scores_b))
    if a.shape != b.shape or a.ndim != 2 or len(a) == 0:
        raise PoolError(f"paired scores must both have shape (seeds, N), got {a.shape} and {b.shape}.")
    shared = Truth(np.asarray(truth, dtype=np.float64))
    pools = [Pool(check_pool(score, shared.values)[0], shared) for score in np.concatenate([a, b])]
    seed, seeds, n = int(rng.integers(2**63)), len(a), len(shared.values)
    values = [entry.value(pool, tie_breaks(seed, entry)) for pool in pools]
    if any(v is None for v in values):
        return Difference(entry.key, None, None, None, False, "undefined: a score has no value", n, seeds)
    per_seed = np.array(values[:seeds], dtype=np.float64) - np.array(values[seeds:], dtype=np.float64)
    difference = float(per_seed.mean())
    ties = tie_breaks(seed + 1, entry)
    drawn = np.stack(resample([Job.of(entry, pool, ties) for pool in pools], seed, resamples))
    low, high = limits_where_defined((drawn[:seeds] - drawn[seeds:]).mean(axis=0))
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
