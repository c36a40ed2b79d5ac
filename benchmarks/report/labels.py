"""What a metric is called in a table: its registered label, the variant after a colon, its decimals."""

from __future__ import annotations

from supertau.benchmarks.metrics import METRICS
from supertau.benchmarks.report.leaderboard import SHOWN, Table

SHORT = {
    "p_at_top_5pct": "P@top5%",
    "hits_at_10": "hits@10",
    "local_tau_at_10": "local τ@10",
    "kendall_tau": "τ",
}
"""Names short enough for a table head; every other metric uses its registered label."""


def metric_label(key: str) -> str:
    """Return a short name of a metric key such as `hits_at_10:best10`; an unknown key is its own name."""
    base, _, variant = key.partition(":")
    label = SHORT.get(base) or (METRICS[base].label if base in METRICS else key if variant == "" else base)
    return f"{label} ({variant})" if variant else label


def digits_of(key: str) -> int:
    """Return how many decimals a metric is printed with."""
    return 2 if key.startswith("hits") else 3


def shown_metrics(table: Table) -> list[tuple[str, str]]:
    """Return the (view, key) pairs printed beside tau: the first variant and view the records have of each metric.

    The local protocol merges isomorphic architectures, so its numbers may stand under another view than the table's.
    """
    present = dict.fromkeys(pair for row in table.rows if row.run_ids for pair in row.cells)
    found = []
    for name in SHOWN:
        candidates = [(v, k) for v, k in present if k == name or k.startswith(f"{name}:")]
        if candidates:
            found.append(min(candidates, key=lambda pair: (pair[0] != table.view, ":best" not in pair[1])))
    return found
