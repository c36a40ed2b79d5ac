"""Metrics of one ranking with their uncertainty over the architectures of the pool."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.bootstrap import Job, interval, resample, tie_breaks
from supertau.benchmarks.metrics.entry import TOP_TIED, Estimate, Metric
from supertau.benchmarks.metrics.pool import Pool, Truth, check_pool
from supertau.benchmarks.metrics.registry import applying


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


def evaluate(
    score: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    metrics: Sequence[str | Metric] | None = None,
    view: str | None = None,
    rng: np.random.Generator,
    resamples: int = 1000,
    names: Sequence[str] | None = None,
) -> list[MetricValue]:
    """Return every metric of one ranking with its pool interval, in the order asked for.

    score, truth (percent): shape (N,), N >= 2, finite. metrics: keys or entries, default all that apply to every view.
    view: the name of the view of a pool that this is; then the default is all that apply to it, and what does not
    apply to it, or to so small a pool, is left out. All metrics share one draw of resamples, and none depends on which
    others are asked for. Raises NonFiniteError with the positions (and `names`), PoolError for shapes, UnknownName for
    a metric.
    """
    return evaluate_many([score], truth, metrics=metrics, view=view, rng=rng, resamples=resamples, names=names)[0]


def evaluate_many(
    scores: Sequence[npt.ArrayLike],
    truth: npt.ArrayLike,
    *,
    metrics: Sequence[str | Metric] | None = None,
    view: str | None = None,
    rng: np.random.Generator,
    resamples: int = 1000,
    names: Sequence[str] | None = None,
) -> list[list[MetricValue]]:
    """Return what `evaluate` with an equal generator says of each of several scores, sharing the draw of resamples."""
    checked = [check_pool(score, truth, names)[0] for score in scores]
    shared = Truth(np.asarray(truth, dtype=np.float64))
    pools = [Pool(score, shared) for score in checked]
    entries = applying(metrics, view, len(shared.values))
    start, seed = copy.deepcopy(rng), int(rng.integers(2**63))
    points = [_points(pool, entries, seed) for pool in pools]
    drawn = iter(resample([job for _, jobs in points for job in jobs], seed, resamples))
    results = []
    for pool, (estimates, jobs) in zip(pools, points, strict=True):
        for job in jobs:
            value = estimates[job.entry.key].value
            assert value is not None
            estimates[job.entry.key] = Estimate(value, *interval(job.entry, value, next(drawn), len(pool)))
        estimates |= _by_protocol(pool, [e for e in entries if e.key not in estimates], start, resamples)
        results.append([_metric_value(entry, pool, estimates[entry.key]) for entry in entries])
    return results


def _points(pool: Pool, entries: Sequence[Metric], seed: int) -> tuple[dict[str, Estimate], list[Job]]:
    """Return the values of a ranking by key, without those of protocols, and the jobs for their intervals."""
    estimates: dict[str, Estimate] = {}
    jobs = []
    for entry in entries:
        reason = entry.blocked(pool.score, pool.truth)
        if reason:
            estimates[entry.key] = Estimate(None, undefined=reason)
        elif entry.protocol is None:
            job = Job.of(entry, pool, tie_breaks(seed + 1, entry))
            value = entry.value(pool, tie_breaks(seed, entry), job.weighted)
            estimates[entry.key] = Estimate(value, undefined=TOP_TIED if value is None else None)
            if value is not None:
                jobs.append(job)
    return estimates, jobs


def _by_protocol(
    pool: Pool, entries: Sequence[Metric], start: np.random.Generator, resamples: int
) -> dict[str, Estimate]:
    """Return the estimates of the protocols of some entries; each protocol starts from the generator as it was given,
    so that rankings judged by equal generators meet the same pools."""
    protocols = dict.fromkeys(entry.protocol for entry in entries if entry.protocol is not None)
    estimates: dict[str, Estimate] = {}
    for protocol in protocols:
        estimates |= protocol(pool.score, pool.truth, copy.deepcopy(start), resamples)
    return estimates


def _metric_value(entry: Metric, pool: Pool, estimate: Estimate) -> MetricValue:
    chance = entry.chance(len(pool))
    if entry.chance_of_truth is not None and estimate.undefined is None:
        chance = entry.chance_of_truth(pool.truth)
    return MetricValue(entry.key, estimate.value, estimate.low, estimate.high, chance, len(pool), estimate.undefined)
