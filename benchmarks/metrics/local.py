"""Local protocol: are ten good architectures found and ordered in a pool of a hundred?

After figure 5 of Supernet Shifting; ours where the caption is silent. Noise: tau over ten items has a standard
deviation of 0.248 without any association, and the true top ten of NAS-Bench-201 span about 0.15 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.interval import LEVEL
from supertau.benchmarks.metrics.point import PoolError, check_pool
from supertau.benchmarks.metrics.top import top_share
from supertau.benchmarks.metrics.weighted import Floats, Integers, TauB

Variant = Literal["best10", "spread10"]
VARIANTS: tuple[Variant, ...] = ("best10", "spread10")
GOOD = 10
SIZE = 100
POOLS = 50
TOP = 0.05


@dataclass(frozen=True)
class LocalResult:
    """One variant of the local protocol.

    hits_at_10: mean number of the 10 good architectures in the predicted top 10, 0 to 10, beside chance_hits;
    local_tau_at_10: mean tau-b among the 10 good ones, in [-1, 1]; each with its interval. tau_left_out: pools whose
    10 good scores (or truths) are equal, left out of tau. `undefined` says why there are no values.
    """

    variant: str
    hits_at_10: float | None
    hits_low: float | None
    hits_high: float | None
    chance_hits: float
    local_tau_at_10: float | None
    tau_low: float | None
    tau_high: float | None
    pools: int
    tau_left_out: int
    n: int
    undefined: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for a record."""
        return asdict(self)


def draw_pools(truth: npt.ArrayLike, variant: Variant, rng: np.random.Generator, pools: int = POOLS) -> Integers:
    """Return `pools` pools as row numbers, shape (pools, 100), the 10 good ones first, best first.

    truth: shape (N,), percent, one value per isomorphism class. best10: the ten truly best, the same in every pool
    (equals at the boundary at random, once); spread10: one from each tenth of the true top 5 %, drawn anew for each
    pool. The other 90 are uniform from all that are not among the ten. Raises PoolError when the space is too small.
    """
    y = np.asarray(truth, dtype=np.float64)
    check_pool(y, y)
    n, top = len(y), int(TOP * len(y) + 1e-9)
    if n < SIZE or (variant == "spread10" and top < GOOD):
        raise PoolError(f"variant {variant} needs at least {SIZE if variant == 'best10' else 200} classes, got {n}.")
    order = np.lexsort((rng.random(n), -y))
    bins = np.array_split(order[:top], GOOD) if variant == "spread10" else np.split(order[:GOOD], GOOD)
    drawn = np.empty((pools, SIZE), dtype=np.int64)
    for pool in drawn:
        pool[:GOOD] = [rng.choice(b) for b in bins]
        pool[GOOD:] = rng.choice(np.setdiff1d(order, pool[:GOOD]), SIZE - GOOD, replace=False)
    return drawn


def local_protocol(
    score: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    pools: int = POOLS,
    resamples: int = 1000,
    names: Sequence[str] | None = None,
) -> dict[str, LocalResult]:
    """Return the local protocol per variant for scores and truth of shape (N,), one value per isomorphism class.

    pools >= 50. The pools depend on truth and rng alone, so that estimators given equal generators meet the same ones.
    Equal scores at the boundary of the predicted top 10 count by exact expectation. Intervals (95 %, percentile
    bootstrap): over pools, and for best10, whose ten architectures are the same in all pools, over the ten as well;
    neither holds the noise of the ground truth. Raises PoolError and NonFiniteError as `check_pool`, with `names`.
    """
    x, y = check_pool(score, truth, names)
    if pools < POOLS:
        raise PoolError(f"the local protocol needs at least {POOLS} pools, got {pools}: one pool is mostly noise.")
    results: dict[str, LocalResult] = {}
    for variant in VARIANTS:
        pool_rng, resample_rng = (np.random.default_rng(int(s)) for s in rng.integers(2**63, size=2))
        drawn = draw_pools(y, variant, pool_rng, pools)
        results[variant] = _judge(x, y, drawn, variant, resample_rng, resamples)
    return results


def _judge(
    x: Floats, y: Floats, drawn: Integers, variant: Variant, rng: np.random.Generator, resamples: int
) -> LocalResult:
    pools, chance = len(drawn), GOOD * GOOD / SIZE
    if (x == x[0]).all():
        reason = "undefined: constant score"
        return LocalResult(variant, None, None, None, chance, None, None, None, pools, pools, len(x), reason)
    found = np.array([top_share(x[pool], GOOD)[:GOOD] for pool in drawn])
    once = np.ones((GOOD, 1))
    tau = np.array([TauB(x[pool], y[pool])(once)[0] for pool in drawn[:, :GOOD]])
    left_out = int(np.isnan(tau).sum())
    picks = rng.integers(pools, size=(resamples, pools))
    if variant == "best10":
        weights = rng.multinomial(GOOD, np.full(GOOD, 1 / GOOD), size=resamples).astype(np.float64)
        hits = np.einsum("rg,rg->r", weights, found[picks].mean(axis=1))
        good = drawn[0, :GOOD]
        taus = TauB(x[good], y[good])(weights.T)
    else:
        hits = found.sum(axis=1)[picks].mean(axis=1)
        known = tau[~np.isnan(tau)]
        taus = known[rng.integers(len(known), size=(resamples, len(known)))].mean(axis=1) if len(known) else tau[:0]
    hits_low, hits_high = np.quantile(hits, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    taus = taus[~np.isnan(taus)]
    low, high = np.quantile(taus, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if left_out < pools else (None, None)
    return LocalResult(
        variant,
        float(found.sum(axis=1).mean()),
        float(hits_low),
        float(hits_high),
        chance,
        float(np.nanmean(tau)) if left_out < pools else None,
        None if low is None else float(low),
        None if high is None else float(high),
        pools,
        left_out,
        len(x),
    )


def merge_classes(values: npt.ArrayLike, classes: npt.ArrayLike) -> tuple[Floats, npt.NDArray[Any]]:
    """Return the mean value of each isomorphism class, shape (..., C), and the C class labels, sorted.

    values: shape (..., N), finite; classes: N labels, equal for architectures of equal function. Raises PoolError.
    """
    v, labels = np.asarray(values, dtype=np.float64), np.asarray(classes)
    if labels.ndim != 1 or v.ndim < 1 or v.shape[-1] != len(labels):
        raise PoolError(f"values of shape {v.shape} need one class label per last axis, got shape {labels.shape}.")
    if not np.isfinite(v).all():
        raise PoolError("values to merge must be finite; a class mean over NaN would hide a missing score.")
    unique, row, size = np.unique(labels, return_inverse=True, return_counts=True)
    rows = [np.bincount(row, weights=values_row, minlength=len(unique)) for values_row in v.reshape(-1, len(labels))]
    return np.array(rows).reshape(*v.shape[:-1], len(unique)) / size, unique
