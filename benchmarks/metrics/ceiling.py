"""Noise ceiling: how well one training run of the ground truth ranks what the other runs say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.point import METRICS, Metric, PoolError
from supertau.benchmarks.metrics.point import metric as find_metric


@dataclass(frozen=True)
class Ceiling:
    """Noise ceiling of one ground truth.

    values: key -> mean over trials, None where no trial has a value; per_trial: key -> the S values in the order of
    the trials; n_used and n_left_out: architectures with all S trials, and those with fewer.
    """

    values: dict[str, float | None]
    per_trial: dict[str, tuple[float | None, ...]]
    n_used: int
    n_left_out: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for a record."""
        return asdict(self)


def noise_ceiling(
    trials: npt.ArrayLike, metrics: Sequence[str | Metric] | None = None, *, rng: np.random.Generator
) -> Ceiling:
    """Return each metric between one ground-truth trial and the mean of the remaining ones, averaged over the choice.

    trials: shape (N, S), S >= 2, accuracy in percent, NaN where a trial does not exist. Architectures with fewer than
    S trials are left out and counted, since a mean of fewer runs is noisier. No estimator can be expected above the
    ceiling; it lies slightly below what a noise-free score would reach against the mean of all S, because both sides
    of the comparison carry noise. Raises PoolError for shapes, for infinite values, and when fewer than two
    architectures remain.
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
    entries = [find_metric(m) if isinstance(m, str) else m for m in (METRICS if metrics is None else metrics)]
    per_trial: dict[str, tuple[float | None, ...]] = {}
    values: dict[str, float | None] = {}
    for entry in entries:
        found = [entry(used[:, s], np.delete(used, s, axis=1).mean(axis=1), rng) for s in range(used.shape[1])]
        known = [value for value in found if value is not None]
        per_trial[entry.key] = tuple(found)
        values[entry.key] = float(np.mean(known)) if known else None
    return Ceiling(values, per_trial, len(used), len(table) - len(used))
