"""All metrics by key. Importing this computes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from supertau.benchmarks.metrics import local, point
from supertau.benchmarks.metrics.entry import Metric
from supertau.search_spaces.errors import unknown

METRICS: dict[str, Metric] = {
    entry.key: entry
    for entry in (
        *point.CORRELATIONS,
        point.p_at_top_k(0.05, shown=True),
        point.p_at_top_k(0.01),
        point.p_at_top_k(0.1),
        point.p_at_bottom_k(0.05),
        point.best_rank_at_k(10),
        point.best_rank_at_k(0.05),
        point.worst_rank_at_k(10),
        point.worst_rank_at_k(0.05),
        point.regret_at_k(10),
        point.tau_of_true_top_k(0.05),
        point.tau_of_true_top_k(10),
        point.tau_of_predicted_top_k(0.05),
        point.tau_of_predicted_top_k(10),
        *local.ENTRIES,
    )
}

SHOWN: tuple[Metric, ...] = tuple(entry for entry in METRICS.values() if entry.shown)
"""The metrics of the printed tables, in order; the first is the one that tables are sorted by."""


def metric(name: str) -> Metric:
    """Return a metric by key, also of a family at any K ('p_at_top_2pct', 'regret_at_50'); raise UnknownName."""
    if name in METRICS:
        return METRICS[name]
    parts = re.fullmatch(r"([a-z_]+)_(\d+(?:\.\d+)?)(pct)?", name)
    if parts and parts[1] in point.FAMILIES and (parts[3] or "." not in parts[2]):
        return point.FAMILIES[parts[1]](float(parts[2]) / 100 if parts[3] else int(parts[2]))
    raise unknown("metric", name, METRICS)


def applying(metrics: Sequence[str | Metric] | None, view: str | None, n: int) -> list[Metric]:
    """Return the metrics that apply to a view of n architectures: of those asked for, by default of all.

    view: None for a pool that is no view by name; then the default leaves out what applies to some views only.
    """
    if metrics is None:
        metrics = [entry for entry in METRICS.values() if view is not None or entry.views is None]
    entries = [metric(m) if isinstance(m, str) else m for m in metrics]
    return [entry for entry in entries if entry.applies(view, n)]
