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
from scipy.special import gammaln

from benchmarks.metrics.weighted import Floats, TauB, TieGroups, Weighted, correlation
from search_spaces.errors import SupertauError, unknown

TIE_BREAKS = 32


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


def top_size(k: int | float, n: int) -> int:
    """Return the K of a pool of n: an int is K itself, a float in (0, 1] a ratio, K = max(1, floor(ratio * n))."""
    # 0.29 * 100 is 28.999..., which must not lose an architecture.
    return k if isinstance(k, int) else max(1, math.floor(k * n + 1e-9))


def top_share(values: Floats, k: int) -> Floats:
    """Return P(in the K largest) per item, shape (N,); items tied at the boundary share the places left equally."""
    boundary = np.partition(values, len(values) - k)[len(values) - k]
    above, at = values > boundary, values == boundary
    return above + at * ((k - np.count_nonzero(above)) / np.count_nonzero(at))


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
    return TauB(score, truth)


def _sparse(score: Floats, truth: Floats, rng: np.random.Generator) -> Weighted:
    return TauB(score, np.round(truth, 1))


def _spearman(score: Floats, truth: Floats, rng: np.random.Generator) -> Weighted:
    x, y = TieGroups(score), TieGroups(truth)
    return lambda counts: correlation(x.ranks(counts), y.ranks(counts), counts)


def _pearson(score: Floats, truth: Floats, rng: np.random.Generator) -> Weighted:
    x, y = ((v - v.mean()) / (np.abs(v - v.mean()).max() or 1.0) for v in (score, truth))
    return lambda counts: correlation(x[:, None], y[:, None], counts)


def _overlap(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float, sign: int) -> Weighted:
    size = top_size(k, len(score))
    x, y = TieGroups(sign * score), TieGroups(sign * truth)
    return lambda counts: np.asarray((counts * x.share(counts, size) * y.share(counts, size)).sum(axis=0) / size)


def _top_tau(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float, by_truth: bool) -> Weighted:
    size, by = top_size(k, len(score)), truth if by_truth else score

    def tau(counts: Floats) -> Floats:
        # One random tie-break per block of resamples: enough for an interval, the point value averages its own.
        order = np.lexsort((rng.random(len(by)), -by))
        weights = counts[order]
        taken = np.clip(size - (np.cumsum(weights, axis=0) - weights), 0, weights)
        used = np.flatnonzero(taken.any(axis=1))
        return TauB(score[order[used]], truth[order[used]])(taken[used])

    return tau


def _plain(prepare: Callable[..., Weighted]) -> Callable[..., float | None]:
    """Return the point form of a weighted metric: every architecture once."""

    def value(score: Floats, truth: Floats, rng: np.random.Generator, **options: object) -> float | None:
        result = float(prepare(score, truth, rng, **options)(np.ones((len(score), 1)))[0])
        return None if math.isnan(result) else result

    return value


def _tau_of_top(
    score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float, by_truth: bool
) -> float | None:
    """Return tau-b inside a top K, averaged over random tie-breaks where the K-th and the next are equal."""
    size, by = top_size(k, len(score)), truth if by_truth else score
    share = top_share(by, size)
    kept = np.flatnonzero(share > 0)
    tied = np.flatnonzero(share[kept] < 1)
    taken = np.ones((len(kept), TIE_BREAKS if tied.size else 1))
    if tied.size:
        place = np.argsort(np.argsort(rng.random((tied.size, TIE_BREAKS)), axis=0), axis=0)
        taken[tied] = place < size - (len(kept) - tied.size)
    values = TauB(score[kept], truth[kept])(taken)
    return None if np.isnan(values).all() else float(np.nanmean(values))


@dataclass(frozen=True)
class _Best:
    """Possible outcomes for the best of a predicted top K: truth, pool items better and equal, equal ones taken."""

    truth: Floats
    better: Floats
    equal: Floats
    taken: Floats
    probability: Floats


def _best_of_top(score: Floats, truth: Floats, k: int) -> _Best:
    """Return the exact law of the best true value in the predicted top K under random tie-breaks at the boundary."""
    boundary = np.partition(score, len(score) - k)[len(score) - k]
    fixed, tied = truth[score > boundary], truth[score == boundary]
    drawn = k - len(fixed)
    if drawn == len(tied):
        fixed, tied, drawn = np.concatenate([fixed, tied]), tied[:0], 0
    floor = fixed.max() if fixed.size else -np.inf
    level = np.unique(np.append(tied[tied >= floor], fixed[fixed == floor]))
    ordered = np.sort(tied)
    at = np.searchsorted(ordered, level, "right") - np.searchsorted(ordered, level, "left")
    worse = np.searchsorted(ordered, level, "left")
    row = np.repeat(np.arange(len(level)), at + 1)
    hits = np.arange(len(row)) - np.repeat(np.cumsum(at + 1) - (at + 1), at + 1)
    probability = np.exp(
        _log_choose(at[row], hits) + _log_choose(worse[row], drawn - hits) - _log_choose(np.array(len(tied)), drawn)
    )
    taken = hits + np.where(level[row] == floor, np.count_nonzero(fixed == floor), 0)
    keep = (taken > 0) & (probability > 0)
    row, taken, probability = row[keep], taken[keep], probability[keep]
    pool = np.sort(truth)
    last = np.searchsorted(pool, level, "right")
    equal = last - np.searchsorted(pool, level, "left")
    return _Best(level[row], (len(pool) - last)[row] * 1.0, equal[row] * 1.0, taken * 1.0, probability)


def _log_choose(n: npt.NDArray[np.int64], k: npt.NDArray[np.int64] | int) -> Floats:
    """Return log of n over k, elementwise; -inf where k is out of range."""
    k = np.asarray(k)
    possible = (k >= 0) & (k <= n)
    m = np.where(possible, k, 0)
    return np.where(possible, gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1), -np.inf)


def _best_rank(score: Floats, truth: Floats, k: int | float) -> float:
    best = _best_of_top(score, truth, top_size(k, len(score)))
    # The first of s items among e equal ones in random order stands at place (e + 1) / (s + 1) on average.
    return float(best.probability @ (best.better + (best.equal + 1) / (best.taken + 1)))


def _best_rank_over_n(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float) -> float:
    return _best_rank(score, truth, k) / len(score)


def _worst_rank_over_n(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float) -> float:
    return (len(score) + 1 - _best_rank(score, -truth, k)) / len(score)


def _regret(score: Floats, truth: Floats, rng: np.random.Generator, *, k: int | float) -> float:
    best = _best_of_top(score, truth, top_size(k, len(score)))
    return max(float(truth.max() - best.probability @ best.truth), 0.0)


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
    prepare = partial(_overlap, k=k, sign=sign)
    return Metric(
        f"p_at_{end}_{_name(k)}", f"P@{end} {_shown(k)}", "up", lambda n: top_size(k, n) / n, _plain(prepare),
        f"share of the K predicted {what} that are among the K truly {what}; random order among equals on both sides, "
        "independently, by its exact expectation", _CLOSE, weighted=prepare, k=k, counts_hits=True,
    )


def p_at_top_k(k: int | float) -> Metric:
    """Return P@top K, in [0, 1]: overlap of the predicted and the true top K, divided by K (aw_nas P@topK)."""
    return _hits(k, 1, "top", "best")


def p_at_bottom_k(k: int | float) -> Metric:
    """Return P@bottom K, in [0, 1]: overlap of the predicted and the true K worst, divided by K (aw_nas P@bottomK)."""
    return _hits(k, -1, "bottom", "worst")


def best_rank_at_k(k: int | float) -> Metric:
    """Return BR@K, in (0, 1]: expected best true rank (1 = best) in the predicted top K, divided by N (CLOSE)."""
    return Metric(
        f"best_rank_at_{_name(k)}", f"BR@{_shown(k)}", "down",
        lambda n: (n + 1) / ((top_size(k, n) + 1) * n), partial(_best_rank_over_n, k=k),
        "best true rank among the predicted top K, over N; equal scores and equal truths in random order, exactly",
        _CLOSE, k=k,
    )


def worst_rank_at_k(k: int | float) -> Metric:
    """Return WR@K, in (0, 1]: expected worst true rank in the predicted top K, divided by N (CLOSE)."""
    return Metric(
        f"worst_rank_at_{_name(k)}", f"WR@{_shown(k)}", "down",
        lambda n: top_size(k, n) * (n + 1) / ((top_size(k, n) + 1) * n), partial(_worst_rank_over_n, k=k),
        "worst true rank among the predicted top K, over N; equal scores and equal truths in random order, exactly",
        _CLOSE, k=k,
    )


def regret_at_k(k: int | float) -> Metric:
    """Return regret@K, percentage points >= 0: best of the pool minus expected best of the predicted top K."""

    def chance(truth: Floats) -> float:
        return _regret(np.zeros(len(truth)), truth, np.random.default_rng(0), k=k)

    return Metric(
        f"regret_at_{_name(k)}", f"regret@{_shown(k)}", "down", lambda n: None, partial(_regret, k=k),
        "best true accuracy of the pool minus best true accuracy among the predicted top K, percentage points",
        _OURS, chance_of_truth=chance, k=k,
    )


def _tau_in(k: int | float, which: str, by_truth: bool) -> Metric:
    return Metric(
        f"tau_of_{which}_top_{_name(k)}", f"tau of {which} top {_shown(k)}", "up", lambda n: 0.0,
        partial(_tau_of_top, k=k, by_truth=by_truth),
        f"Kendall's tau-b inside the {which} top K; equals at its boundary by {TIE_BREAKS} random tie-breaks", _CLOSE,
        weighted=partial(_top_tau, k=k, by_truth=by_truth), k=k,
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
    "p_at_top": p_at_top_k, "p_at_bottom": p_at_bottom_k, "best_rank_at": best_rank_at_k,
    "worst_rank_at": worst_rank_at_k, "regret_at": regret_at_k, "tau_of_true_top": tau_of_true_top_k,
    "tau_of_predicted_top": tau_of_predicted_top_k,
}

METRICS: dict[str, Metric] = {
    entry.key: entry
    for entry in (
        _whole("kendall_tau", "Kendall's tau", _kendall, "Kendall's tau-b, the papers' KD", "scipy.stats.kendalltau"),
        _whole("spearman", "Spearman's rho", _spearman, "rank correlation, average ranks", "scipy.stats.spearmanr"),
        _whole("pearson", "Pearson's r", _pearson, "linear correlation", "scipy.stats.pearsonr"),
        _whole("sparse_tau", "sparse tau", _sparse, "tau-b with truth rounded to 0.1 point", "after CLOSE, section 4"),
        p_at_top_k(0.05), p_at_top_k(0.01), p_at_top_k(0.1), p_at_bottom_k(0.05),
        best_rank_at_k(10), best_rank_at_k(0.05), worst_rank_at_k(10), worst_rank_at_k(0.05), regret_at_k(10),
        tau_of_true_top_k(0.05), tau_of_true_top_k(10), tau_of_predicted_top_k(0.05), tau_of_predicted_top_k(10),
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
