"""Point metrics: how well scores rank the architectures of one pool, as one number each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics import expansion, top
from supertau.benchmarks.metrics.top import top_size
from supertau.benchmarks.metrics.weighted import Floats, Pearson, Weighted
from supertau.search_spaces.errors import SupertauError, unknown


class PoolError(SupertauError):
    """Scores and ground truth that do not make a pool: wrong shape, or fewer than two architectures."""


class NonFiniteError(PoolError):
    """NaN or infinite values; `indices` are their positions in the pool, `names` what the caller calls them."""

    def __init__(self, what: str, indices: Sequence[int], names: Sequence[str] | None = None) -> None:
        self.indices = tuple(int(i) for i in indices)
        self.names = tuple(str(names[i]) for i in self.indices) if names is not None else ()
        shown = self.names or tuple(f"position {i}" for i in self.indices)
        more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
        super().__init__(
            f"{what} is NaN or infinite for {len(shown)} architecture(s): {', '.join(shown[:10])}{more}. "
            "Every architecture of a pool needs a finite value; score them again or leave them out of the pool."
        )


def check_pool(score: npt.ArrayLike, truth: npt.ArrayLike, names: Sequence[str] | None = None) -> tuple[Floats, Floats]:
    """Return score and truth as float arrays of shape (N,), N >= 2; raise PoolError or NonFiniteError."""
    x, y = np.asarray(score, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise PoolError(f"score and ground truth must be vectors of one length, got shapes {x.shape} and {y.shape}.")
    if len(x) < 2:
        raise PoolError(f"a ranking needs at least 2 architectures, got {len(x)}.")
    if names is not None and len(names) != len(x):
        raise PoolError(f"got {len(names)} names for {len(x)} architectures.")
    for what, values in (("score", x), ("ground truth", y)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise NonFiniteError(what, bad.tolist(), names)
    return x, y


@dataclass(frozen=True)
class Metric:
    """One way to judge a ranking.

    key: name in records; direction: 'up' when larger is better; chance: value of a random ranking of N architectures,
    None where it depends on the ground truth, then `chance_of_truth` gives it from the pool's truth. function: value
    from finite score and truth of shape (N,) and a generator for tie-breaks; None where undefined. weighted: the same
    for many resamples at once (optional; without it the function is called per resample). k: the K of top-K metrics,
    an int (count) or a float (ratio). counts_hits: the value is a number of hits among K, divided by K.
    """

    key: str
    label: str
    direction: Literal["up", "down"]
    chance: Callable[[int], float | None]
    function: Callable[[Floats, Floats, np.random.Generator], float | None]
    description: str
    source: str
    chance_of_truth: Callable[[Floats], float] | None = None
    weighted: Callable[[Floats, Floats, np.random.Generator], Weighted] | None = None
    k: int | float | None = None
    counts_hits: bool = False

    def __call__(self, score: npt.ArrayLike, truth: npt.ArrayLike, rng: np.random.Generator) -> float | None:
        """Return the value for score and truth (percent) of shape (N,), or None; raise PoolError as `check_pool`."""
        x, y = check_pool(score, truth)
        return None if self.blocked(x, y) else self.function(x, y, rng)

    def blocked(self, score: Floats, truth: Floats) -> str | None:
        """Return why no value exists for this pool, or None."""
        if isinstance(self.k, int) and self.k > len(score):
            return f"undefined: the pool has fewer than {self.k} architectures"
        for what, values in (("score", score), ("ground truth", truth)):
            if (values == values[0]).all():
                return f"undefined: constant {what}"
        return None


def _kendall(score: Floats, truth: Floats, rng: np.random.Generator) -> Weighted:
    return expansion.kendall(score, truth)


def _sparse(score: Floats, truth: Floats, rng: np.random.Generator) -> Weighted:
    return expansion.kendall(score, np.round(truth, 1))


def _spearman(score: Floats, truth: Floats, rng: np.random.Generator) -> Weighted:
    return expansion.spearman(score, truth)


def _pearson(score: Floats, truth: Floats, rng: np.random.Generator) -> Weighted:
    return Pearson(score, truth)


def _plain(prepare: Callable[..., Weighted]) -> Callable[..., float | None]:
    """Return the point form of a weighted metric: every architecture once."""

    def value(score: Floats, truth: Floats, rng: np.random.Generator, **options: object) -> float | None:
        result = float(prepare(score, truth, rng, **options)(np.ones((len(score), 1)))[0])
        return None if math.isnan(result) else result

    return value


TOP_TIED = "undefined: score or ground truth is constant inside the top K"
_CLOSE = "CLOSE (arXiv 2207.07868) and aw_nas evaluation.py; ties by expectation, which is ours"
_OURS = "ours, as in one-shot NAS practice"


def _name(k: int | float) -> str:
    if isinstance(k, bool) or not (k >= 1 if isinstance(k, int) else 0 < k <= 1):
        raise SupertauError(f"K must be a count (int >= 1) or a ratio (float in (0, 1]), got {k!r}.")
    return str(k) if isinstance(k, int) else f"{100 * k:.10g}pct"


def _shown(k: int | float) -> str:
    return _name(k).replace("pct", " %")


def _hits(k: int | float, sign: int, end: str, what: str) -> Metric:
    prepare = partial(top.overlap, k=k, sign=sign)
    return Metric(
        f"p_at_{end}_{_name(k)}",
        f"P@{end} {_shown(k)}",
        "up",
        lambda n: top_size(k, n) / n,
        _plain(prepare),
        f"share of the K predicted {what} that are among the K truly {what}; random order among equals on both sides, "
        "independently, by its exact expectation",
        _CLOSE,
        weighted=prepare,
        k=k,
        counts_hits=True,
    )


def p_at_top_k(k: int | float) -> Metric:
    """Return P@top K, in [0, 1]: overlap of the predicted and the true top K, divided by K (aw_nas P@topK)."""
    return _hits(k, 1, "top", "best")


def p_at_bottom_k(k: int | float) -> Metric:
    """Return P@bottom K, in [0, 1]: overlap of the predicted and the true K worst, divided by K (aw_nas P@bottomK)."""
    return _hits(k, -1, "bottom", "worst")


def best_rank_at_k(k: int | float) -> Metric:
    """Return BR@K, in (0, 1]: expected best true rank (1 = best) in the predicted top K, divided by N (CLOSE)."""
    prepare = partial(top.best_rank, k=k)
    return Metric(
        f"best_rank_at_{_name(k)}",
        f"BR@{_shown(k)}",
        "down",
        lambda n: (n + 1) / ((top_size(k, n) + 1) * n),
        _plain(prepare),
        "best true rank among the predicted top K, over N; equal scores and equal truths in random order, exactly",
        _CLOSE,
        weighted=prepare,
        k=k,
    )


def worst_rank_at_k(k: int | float) -> Metric:
    """Return WR@K, in (0, 1]: expected worst true rank in the predicted top K, divided by N (CLOSE)."""
    prepare = partial(top.worst_rank, k=k)
    return Metric(
        f"worst_rank_at_{_name(k)}",
        f"WR@{_shown(k)}",
        "down",
        lambda n: top_size(k, n) * (n + 1) / ((top_size(k, n) + 1) * n),
        _plain(prepare),
        "worst true rank among the predicted top K, over N; equal scores and equal truths in random order, exactly",
        _CLOSE,
        weighted=prepare,
        k=k,
    )


def regret_at_k(k: int | float) -> Metric:
    """Return regret@K, percentage points >= 0: best of the pool minus expected best of the predicted top K."""
    prepare = partial(top.regret, k=k)
    return Metric(
        f"regret_at_{_name(k)}",
        f"regret@{_shown(k)}",
        "down",
        lambda n: None,
        _plain(prepare),
        "best true accuracy of the pool minus best true accuracy among the predicted top K, percentage points",
        _OURS,
        chance_of_truth=partial(top.chance_regret, k=k),
        weighted=prepare,
        k=k,
    )


def _tau_in(k: int | float, which: str, by_truth: bool) -> Metric:
    return Metric(
        f"tau_of_{which}_top_{_name(k)}",
        f"tau of {which} top {_shown(k)}",
        "up",
        lambda n: 0.0,
        partial(top.mean_tau_among, k=k, by_truth=by_truth),
        f"Kendall's tau-b inside the {which} top K; equals at its boundary by {top.TIE_BREAKS} random tie-breaks",
        _CLOSE,
        weighted=partial(top.tau_among, k=k, by_truth=by_truth),
        k=k,
    )


def tau_of_true_top_k(k: int | float) -> Metric:
    """Return tau-b among the K truly best, in [-1, 1]."""
    return _tau_in(k, "true", True)


def tau_of_predicted_top_k(k: int | float) -> Metric:
    """Return tau-b among the K predicted best, in [-1, 1] (aw_nas)."""
    return _tau_in(k, "predicted", False)


def _whole(key: str, label: str, prepare: Callable[..., Weighted], description: str, source: str) -> Metric:
    return Metric(key, label, "up", lambda n: 0.0, _plain(prepare), description, source, weighted=prepare)


_FAMILIES: dict[str, Callable[[int | float], Metric]] = {
    "p_at_top": p_at_top_k,
    "p_at_bottom": p_at_bottom_k,
    "best_rank_at": best_rank_at_k,
    "worst_rank_at": worst_rank_at_k,
    "regret_at": regret_at_k,
    "tau_of_true_top": tau_of_true_top_k,
    "tau_of_predicted_top": tau_of_predicted_top_k,
}

METRICS: dict[str, Metric] = {
    entry.key: entry
    for entry in (
        _whole("kendall_tau", "Kendall's tau", _kendall, "Kendall's tau-b, the papers' KD", "scipy.stats.kendalltau"),
        _whole("spearman", "Spearman's rho", _spearman, "rank correlation, average ranks", "scipy.stats.spearmanr"),
        _whole("pearson", "Pearson's r", _pearson, "linear correlation", "scipy.stats.pearsonr"),
        _whole("sparse_tau", "sparse tau", _sparse, "tau-b with truth rounded to 0.1 point", "after CLOSE, section 4"),
        p_at_top_k(0.05),
        p_at_top_k(0.01),
        p_at_top_k(0.1),
        p_at_bottom_k(0.05),
        best_rank_at_k(10),
        best_rank_at_k(0.05),
        worst_rank_at_k(10),
        worst_rank_at_k(0.05),
        regret_at_k(10),
        tau_of_true_top_k(0.05),
        tau_of_true_top_k(10),
        tau_of_predicted_top_k(0.05),
        tau_of_predicted_top_k(10),
    )
}


def metric(name: str) -> Metric:
    """Return a metric by key, also of a family at any K ('p_at_top_2pct', 'regret_at_50'); raise UnknownName."""
    if name in METRICS:
        return METRICS[name]
    found = re.fullmatch(r"([a-z_]+)_(\d+(?:\.\d+)?)(pct)?", name)
    if found and found[1] in _FAMILIES and (found[3] or "." not in found[2]):
        return _FAMILIES[found[1]](float(found[2]) / 100 if found[3] else int(found[2]))
    raise unknown("metric", name, METRICS)
