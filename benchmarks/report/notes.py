"""How to read the tables: the sentences that stand under every one of them."""

from __future__ import annotations

from collections.abc import Sequence

from supertau.benchmarks.metrics import SCHEME
from supertau.benchmarks.report.numbers import DASH
from supertau.benchmarks.report.table import Table

INTERVALS = {
    "runs": "'runs': over training seeds (Student t, from three runs on)",
    "pool": f"'pool': over architectures, the training run kept fixed ({SCHEME}; of several runs, the mean of theirs)",
}
MICRO = (
    "micro",
    "Ground truth that this project trained itself, of small networks on small images for a few epochs, as the caption "
    "says. It shares a search space with a published benchmark and nothing else.",
)
SHORT = {"runs": "runs", "pool": "pool", "none": DASH}


def method_notes(tables: Sequence[Table]) -> list[tuple[str, str]]:
    """Return (term, explanation) pairs for what these tables show."""
    present = {c.interval for t in tables for r in t.rows for c in r.cells.values()}
    kinds = [text for kind, text in INTERVALS.items() if kind in present]
    interval = f"95 %, in brackets. {'. '.join(kinds)}." if kinds else "The records have none."
    if len(kinds) == 2:
        interval += " They answer different questions: what another training run, or other architectures, would give."
    return [
        ("τ", "Kendall's tau-b between an estimator's scores and the ground truth, ties included; higher is better."),
        ("Interval", interval),
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
            "all, unique, connected, trained",
            "Views of the pool: every architecture; one entry per isomorphism class, scores and "
            "truth of its members averaged; only architectures with a path from input to output; only architectures "
            "whose stand-alone training came clearly above a guess.",
        ),
        (
            "Score column",
            "Estimators may score in several ways. Rows show the column the method declares as its primary one, chosen "
            "before the ground truth is seen, unless a row says otherwise.",
        ),
        *([MICRO] if any(t.task.dataset == "micro" for t in tables) else []),
        (
            "Cost",
            "Means over seeds. Training images count every image run forward and backward, repeats included; scoring "
            "images every image run forward. Times and memory belong to the device named beside them.",
        ),
    ]
