"""Metrics of a ranking: point values, their uncertainty, the noise ceiling, the local protocol, the overlap curve."""

from supertau.benchmarks.metrics.bootstrap import SCHEME
from supertau.benchmarks.metrics.ceiling import Ceiling, noise_ceiling
from supertau.benchmarks.metrics.classes import merge_classes
from supertau.benchmarks.metrics.entry import Metric
from supertau.benchmarks.metrics.evaluation import MetricValue, evaluate, evaluate_many
from supertau.benchmarks.metrics.interval import Difference, RunsSummary, paired_difference, runs_summary
from supertau.benchmarks.metrics.local import LocalResult, draw_pools, local_protocol
from supertau.benchmarks.metrics.overlap import OverlapCurve, overlap_curve
from supertau.benchmarks.metrics.pool import NonFiniteError, PoolError
from supertau.benchmarks.metrics.registry import METRICS, SHOWN, metric
from supertau.benchmarks.metrics.threads import limited_threads

__all__ = [
    "METRICS",
    "SCHEME",
    "SHOWN",
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
    "evaluate_many",
    "limited_threads",
    "local_protocol",
    "merge_classes",
    "metric",
    "noise_ceiling",
    "overlap_curve",
    "paired_difference",
    "runs_summary",
]
