"""The limits of a 95 % percentile interval."""

from __future__ import annotations

import numpy as np

from supertau.benchmarks.metrics.groups import Floats

LEVEL = 0.95
# Fewer defined resamples than this say more about the pool being degenerate than about the value.
MIN_DEFINED = 0.9


def limits(drawn: Floats) -> tuple[float, float]:
    """Return the limits of the values of resamples, shape (B,), B >= 1, all finite."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def limits_where_defined(drawn: Floats) -> tuple[float, float] | tuple[None, None]:
    """Return the limits of the values of resamples, NaN where undefined; None when over a tenth are undefined."""
    known = drawn[~np.isnan(drawn)]
    return limits(known) if len(known) and len(known) >= MIN_DEFINED * len(drawn) else (None, None)
