"""Metrics of a ranking: point values, their uncertainty, the noise ceiling, the local protocol, the overlap curve."""

from supertau.benchmarks.metrics.ceiling import Ceiling, noise_ceiling
from supertau.benchmarks.metrics.interval import (
    SCHEME,
    Difference,
    MetricValue,
    RunsSummary,
    evaluate,
    paired_difference,
    runs_summary,
)
from supertau.benchmarks.metrics.local import LocalResult, draw_pools, local_protocol, merge_classes
from supertau.benchmarks.metrics.overlap import OverlapCurve, overlap_curve
from supertau.benchmarks.metrics.point import METRICS, Metric, NonFiniteError, PoolError, metric

__all__ = [
    "METRICS",
    "SCHEME",
    "Ceiling",
    "Difference",
    "LocalResult",
    "Metric",
    "MetricValue",
    "NonFiniteError",
    "OverlapCurve",
    "PoolError",
    "RunsSummary",
    "draw_pools",
    "evaluate",
    "local_protocol",
    "merge_classes",
    "metric",
    "noise_ceiling",
    "overlap_curve",
    "paired_difference",
    "runs_summary",
]
