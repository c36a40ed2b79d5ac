"""Point metrics: how well scores rank the architectures of one pool, as one number each."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from supertau.benchmarks.metrics import expansion, top
from supertau.benchmarks.metrics.correlation import Pearson
from supertau.benchmarks.metrics.counts import Weighted
from supertau.benchmarks.metrics.entry import Metric
from supertau.benchmarks.metrics.pool import Pool
from supertau.benchmarks.metrics.pool import PoolError as PoolError
from supertau.benchmarks.metrics.top import top_size
from supertau.search_spaces.errors import SupertauError

CLOSE = "CLOSE (arXiv 2207.07868) and aw_nas evaluation.py; ties by expectation, which is ours"
OURS = "ours, as in one-shot NAS practice"


def _name(k: int | float) -> str:
    """Return K as it stands in keys."""
    if isinstance(k, bool) or not (k >= 1 if isinstance(k, int) else 0 < k <= 1):
        raise SupertauError(f"K must be a count (int >= 1) or a ratio (float in (0, 1]), got {k!r}.")
    return str(k) if isinstance(k, int) else f"{100 * k:.10g}pct"


def _label(k: int | float) -> str:
    return str(k) if isinstance(k, int) else f"{100 * k:.10g} %"


def _short(k: int | float) -> str:
    return _label(k).replace(" ", "")


def _hits(k: int | float, sign: int, end: str, what: str, shown: bool) -> Metric:
    return Metric(
        key=f"p_at_{end}_{_name(k)}",
        label=f"P@{end} {_label(k)}",
        short=f"P@{end}{_short(k)}",
        direction="up",
        bounds=(0.0, 1.0),
        chance=lambda n: top_size(k, n) / n,
        description=f"share of the K predicted {what} that are among the K truly {what}; random order among equals on "
        "both sides, independently, by its exact expectation",
        source=CLOSE,
        shown=shown,
        k=k,
        counts_hits=True,
        weighted=partial(top.overlap, k=k, sign=sign),
    )


def p_at_top_k(k: int | float, *, shown: bool = False) -> Metric:
    """Return P@top K, in [0, 1]: overlap of the predicted and the true top K, divided by K (aw_nas P@topK)."""
    return _hits(k, 1, "top", "best", shown)


def p_at_bottom_k(k: int | float, *, shown: bool = False) -> Metric:
    """Return P@bottom K, in [0, 1]: overlap of the predicted and the true K worst, divided by K (aw_nas P@bottomK)."""
    return _hits(k, -1, "bottom", "worst", shown)


def best_rank_at_k(k: int | float) -> Metric:
    """Return BR@K, in (0, 1]: expected best true rank (1 = best) in the predicted top K, divided by N (CLOSE)."""
    return Metric(
        key=f"best_rank_at_{_name(k)}",
        label=f"BR@{_label(k)}",
        short=f"BR@{_short(k)}",
        direction="down",
        bounds=(0.0, 1.0),
        chance=lambda n: (n + 1) / ((top_size(k, n) + 1) * n),
        description="best true rank among the predicted top K, over N; equal scores and equal truths in random order, "
        "exactly",
        source=CLOSE,
        k=k,
        weighted=partial(top.best_rank, k=k),
    )


def worst_rank_at_k(k: int | float) -> Metric:
    """Return WR@K, in (0, 1]: expected worst true rank in the predicted top K, divided by N (CLOSE)."""
    return Metric(
        key=f"worst_rank_at_{_name(k)}",
        label=f"WR@{_label(k)}",
        short=f"WR@{_short(k)}",
        direction="down",
        bounds=(0.0, 1.0),
        chance=lambda n: top_size(k, n) * (n + 1) / ((top_size(k, n) + 1) * n),
        description="worst true rank among the predicted top K, over N; equal scores and equal truths in random order, "
        "exactly",
        source=CLOSE,
        k=k,
        weighted=partial(top.worst_rank, k=k),
    )


def regret_at_k(k: int | float) -> Metric:
    """Return regret@K, percentage points >= 0: best of the pool minus expected best of the predicted top K."""
    return Metric(
        key=f"regret_at_{_name(k)}",
        label=f"regret@{_label(k)}",
        short=f"regret@{_short(k)}",
        direction="down",
        bounds=(0.0, math.inf),
        chance=lambda n: None,
        chance_of_truth=partial(top.chance_regret, k=k),
        description="best true accuracy of the pool minus best true accuracy among the predicted top K, percentage "
        "points",
        source=OURS,
        k=k,
        weighted=partial(top.regret, k=k),
    )


def _tau_in(k: int | float, which: str, by_truth: bool) -> Metric:
    return Metric(
        key=f"tau_of_{which}_top_{_name(k)}",
        label=f"tau of {which} top {_label(k)}",
        short=f"τ in {which} top {_short(k)}",
        direction="up",
        bounds=(-1.0, 1.0),
        chance=lambda n: 0.0,
        description=f"Kendall's tau-b inside the {which} top K; equals at its boundary by {top.TIE_BREAKS} random "
        "tie-breaks",
        source=CLOSE,
        k=k,
        function=partial(top.mean_tau_among, k=k, by_truth=by_truth),
        weighted=partial(top.tau_among, k=k, by_truth=by_truth),
    )


def tau_of_true_top_k(k: int | float) -> Metric:
    """Return tau-b among the K truly best, in [-1, 1]."""
    return _tau_in(k, "true", True)


def tau_of_predicted_top_k(k: int | float) -> Metric:
    """Return tau-b among the K predicted best, in [-1, 1] (aw_nas)."""
    return _tau_in(k, "predicted", False)


FAMILIES: dict[str, Callable[[int | float], Metric]] = {
    "p_at_top": p_at_top_k,
    "p_at_bottom": p_at_bottom_k,
    "best_rank_at": best_rank_at_k,
    "worst_rank_at": worst_rank_at_k,
    "regret_at": regret_at_k,
    "tau_of_true_top": tau_of_true_top_k,
    "tau_of_predicted_top": tau_of_predicted_top_k,
}


def _correlation(
    key: str, label: str, short: str, prepare: Callable[[Pool], Weighted], description: str, source: str, shown: bool
) -> Metric:
    return Metric(
        key=key,
        label=label,
        short=short,
        direction="up",
        bounds=(-1.0, 1.0),
        chance=lambda n: 0.0,
        description=description,
        source=source,
        shown=shown,
        weighted=lambda pool, rng: prepare(pool),
    )


CORRELATIONS = (
    _correlation(
        "kendall_tau", "Kendall's tau", "τ",
        lambda p: expansion.kendall(p.score_groups, p.truth_groups),
        "Kendall's tau-b, the papers' KD", "scipy.stats.kendalltau", True,
    ),
    _correlation(
        "spearman", "Spearman's rho", "\N{GREEK SMALL LETTER RHO}",
        lambda p: expansion.spearman(p.score_groups, p.truth_groups),
        "rank correlation, average ranks", "scipy.stats.spearmanr", False,
    ),
    _correlation(
        "pearson", "Pearson's r", "r",
        lambda p: Pearson(p.score, p.truth),
        "linear correlation", "scipy.stats.pearsonr", False,
    ),
    _correlation(
        "sparse_tau", "sparse tau", "sparse τ",
        lambda p: expansion.kendall(p.score_groups, p.shared.rounded),
        "tau-b with truth rounded to 0.1 point", "after CLOSE, section 4", False,
    ),
)  # fmt: skip
