"""Noise ceiling: how well one training run of the ground truth ranks what the other runs say."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.entry import Estimate, Metric, Protocol
from supertau.benchmarks.metrics.pool import Pool, PoolError
from supertau.benchmarks.metrics.registry import applying


@dataclass(frozen=True)
class Ceiling:
    """Noise ceiling of one ground truth.

    values: key -> mean over trials, None where no trial has a value; per_trial: key -> the S values in the order of
    the trials, for a metric with a protocol the first alone; n_used and n_left_out: architectures with all S trials,
    and those with fewer.
    """

    values: dict[str, float | None]
    per_trial: dict[str, tuple[float | None, ...]]
    n_used: int
    n_left_out: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for a record."""
        return asdict(self)


def noise_ceiling(
    trials: npt.ArrayLike,
    metrics: Sequence[str | Metric] | None = None,
    *,
    view: str | None = None,
    rng: np.random.Generator,
) -> Ceiling:
    """Return each metric between one ground-truth trial and the mean of the remaining ones, averaged over the choice.

    trials: shape (N, S), S >= 2, accuracy in percent, NaN where a trial does not exist. metrics, view: as in
    `evaluate`. Architectures with fewer than S trials are left out and counted, since a mean of fewer runs is
    noisier. No estimator can be expected above the ceiling; it lies slightly below what a noise-free score would reach
    against the mean of all S, because both sides of the comparison carry noise. Metrics with a protocol take the first
    trial alone. Raises PoolError for shapes, for infinite values, and when fewer than two architectures remain.
    """
    table = np.asarray(trials, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise PoolError(f"a noise ceiling needs trials of shape (N, S) with S >= 2, got {table.shape}.")
    if np.isinf(table).any():
        raise PoolError(f"trials are infinite for rows {np.flatnonzero(np.isinf(table).any(axis=1))[:10].tolist()}.")
    complete = ~np.isnan(table).any(axis=1)
    used = table[complete]
    if len(used) < 2:
        raise PoolError(f"a noise ceiling needs 2 architectures with all {table.shape[1]} trials, got {len(used)}.")
    pools = [Pool(used[:, s], np.delete(used, s, axis=1).mean(axis=1)) for s in range(used.shape[1])]
    start = copy.deepcopy(rng)
    protocols: dict[Protocol, Mapping[str, Estimate]] = {}
    per_trial: dict[str, tuple[float | None, ...]] = {}
    values: dict[str, float | None] = {}
    for entry in applying(metrics, view, len(used)):
        if entry.protocol is None:
            per_trial[entry.key] = tuple(entry.value(pool, rng) for pool in pools)
        else:
            first = pools[0]
            if entry.protocol not in protocols:
                protocols[entry.protocol] = entry.protocol(first.score, first.truth, copy.deepcopy(start), 0)
            per_trial[entry.key] = (protocols[entry.protocol][entry.key].value,)
        known = [value for value in per_trial[entry.key] if value is not None]
        values[entry.key] = float(np.mean(known)) if known else None
    return Ceiling(values, per_trial, len(used), len(table) - len(used))
