"""How to read the tables: the sentences that stand under every one of them."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.metrics import SCHEME
from benchmarks.report.cells import DASH
from benchmarks.report.leaderboard import Table

INTERVALS = {
    "runs": "over runs: Student t over training seeds, given from three runs on",
    "pool": f"over the pool: other architectures, the training run held fixed ({SCHEME}; of several runs, their mean)",
    "none": "none",
}
SHORT = {"runs": "runs", "pool": "pool", "none": DASH}


def method_notes(tables: Sequence[Table]) -> list[tuple[str, str]]:
    """Return (term, explanation) pairs for what these tables show."""
    kinds = {c.interval for t in tables for r in t.rows for c in r.cells.values()} - {"none"}
    notes = [
        ("τ", "Kendall's tau-b between an estimator's scores and the ground truth, ties included; higher is better."),
        (
            "Interval",
            "In brackets, 95 %. The column 'interval' says over what it is taken: "
            + "; ".join(INTERVALS[k] for k in ("runs", "pool") if k in kinds)
            + ". The two answer different questions: another training run, or other architectures."
            if kinds
            else "The records hold no interval.",
        ),
        (
            "Seeds",
            "Mean ± standard deviation over training seeds, with their number. A single run has no standard deviation.",
        ),
        (
            "Noise ceiling",
            "The same metric between one training seed of the ground truth and the mean of the other seeds. The ground "
            "truth itself is no more repeatable than this, so no estimator can be expected above it.",
        ),
        ("Random order", "The chance level: what scores drawn at random reach on average."),
        (
            "Free baseline",
            "A ranking that costs no training, such as the number of parameters. Estimators marked ▽ have a τ "
            "interval that does not lie above the best free baseline of their table: on this evidence the training "
            "bought nothing.",
        ),
        (
            "all, unique, connected",
            "Views of the pool: every architecture; one entry per isomorphism class, scores and "
            "truth of its members averaged; only architectures with a path from input to output.",
        ),
        (
            "Score column",
            "Estimators may score in several ways. Rows show the column the method declares as its primary one, chosen "
            "before the ground truth is seen, unless a row says otherwise.",
        ),
        (
            "Cost",
            "Means over seeds. Training images count every image run forward and backward, repeats included; scoring "
            "images every image run forward. Times and memory belong to the device named beside them.",
        ),
    ]
    return notes
