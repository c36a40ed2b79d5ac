"""Isomorphism classes: one value for architectures of equal function."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.groups import Floats
from supertau.benchmarks.metrics.pool import PoolError


def merge_classes(values: npt.ArrayLike, classes: npt.ArrayLike) -> tuple[Floats, npt.NDArray[Any]]:
    """Return the mean value of each isomorphism class, shape (..., C), and the C class labels, sorted.

    values: shape (..., N), finite; classes: N labels, equal for architectures of equal function. Raises PoolError.
    """
    v, labels = np.asarray(values, dtype=np.float64), np.asarray(classes)
    if labels.ndim != 1 or v.ndim < 1 or v.shape[-1] != len(labels):
        raise PoolError(f"values of shape {v.shape} need one class label per last axis, got shape {labels.shape}.")
    if not np.isfinite(v).all():
        raise PoolError("values to merge must be finite; a class mean over NaN would hide a missing score.")
    unique, row, size = np.unique(labels, return_inverse=True, return_counts=True)
    rows = [np.bincount(row, weights=values_row, minlength=len(unique)) for values_row in v.reshape(-1, len(labels))]
    return np.array(rows).reshape(*v.shape[:-1], len(unique)) / size, unique
