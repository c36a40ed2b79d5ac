"""Local protocol: are ten good architectures identified and ordered in a pool of a hundred?

After figure 5 of Supernet Shifting; ours where the caption is silent. Noise: tau over ten items has a standard
deviation of 0.248 without any association, and the true top ten of NAS-Bench-201 span about 0.15 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.correlation import divided
from supertau.benchmarks.metrics.counts import Counts
from supertau.benchmarks.metrics.entry import Estimate, Metric
from supertau.benchmarks.metrics.groups import Floats, Integers, TieGroups
from supertau.benchmarks.metrics.percentiles import limits
from supertau.benchmarks.metrics.pool import PoolError, check_pool
from supertau.benchmarks.metrics.tau import TauB
from supertau.benchmarks.metrics.top import top_share

Variant = Literal["best10", "spread10"]
VARIANTS: dict[Variant, str] = {
    "best10": "the ten truly best of the space",
    "spread10": "one from each tenth of the true top 5 %",
}
GOOD = 10
SIZE = 100
POOLS = 50
TOP = 0.05
LEAST = 2 * SIZE
"""The smallest space it says anything about: of fewer, ten tenths of the top 5 % do not hold an architecture each."""
LEFT_OUT = "undefined: the ten good scores, or truths, are equal in every pool"


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
        raise PoolError(f"variant {variant} needs at least {SIZE if variant == 'best10' else LEAST} classes, got {n}.")
    order = np.lexsort((rng.random(n), -y))
    tenths = np.array_split(order[:top], GOOD) if variant == "spread10" else np.split(order[:GOOD], GOOD)
    drawn = np.empty((pools, SIZE), dtype=np.int64)
    for pool in drawn:
        pool[:GOOD] = [tenth[rng.integers(len(tenth))] for tenth in tenths]
        others = np.ones(n, dtype=bool)
        others[pool[:GOOD]] = False
        pool[GOOD:] = np.flatnonzero(others)[rng.choice(n - GOOD, SIZE - GOOD, replace=False)]
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
    bootstrap; none with resamples 0): over pools, and for best10, whose ten architectures are the same in all pools,
    over the ten as well; neither holds the noise of the ground truth. Raises PoolError and NonFiniteError as
    `check_pool`, with `names`.
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
    hits = top_share(x[drawn], GOOD)[:, :GOOD]
    tau = _tau_of_each(x[drawn[:, :GOOD]], y[drawn[:, :GOOD]])
    left_out = int(np.isnan(tau).sum())
    hits_low = hits_high = tau_low = tau_high = None
    if resamples:
        resampled_hits, resampled_tau = _resampled(x, y, drawn, variant, rng, resamples, hits, tau)
        hits_low, hits_high = limits(resampled_hits)
        if left_out < pools:
            tau_low, tau_high = limits(resampled_tau[~np.isnan(resampled_tau)])
    return LocalResult(
        variant,
        float(hits.sum(axis=1).mean()),
        hits_low,
        hits_high,
        chance,
        float(np.nanmean(tau)) if left_out < pools else None,
        tau_low,
        tau_high,
        pools,
        left_out,
        len(x),
    )


def _tau_of_each(x: Floats, y: Floats) -> Floats:
    """Return tau-b of each of P pools, shape (P,), from their scores and truths, shape (P, 10); NaN where constant."""
    sign_x, sign_y = (np.sign(v[:, :, None] - v[:, None, :]) for v in (x, y))
    pairs, untied_x, untied_y = ((a * b).sum(axis=(1, 2)) for a, b in (
        (sign_x, sign_y), (sign_x, sign_x), (sign_y, sign_y)
    ))  # fmt: skip
    return divided(pairs, np.sqrt(untied_x * untied_y))


def _resampled(
    x: Floats,
    y: Floats,
    drawn: Integers,
    variant: Variant,
    rng: np.random.Generator,
    resamples: int,
    hits: Floats,
    tau: Floats,
) -> tuple[Floats, Floats]:
    """Return hits and tau of bootstrap resamples of the pools, and for best10 of the ten good architectures as well."""
    picks = rng.integers(len(drawn), size=(resamples, len(drawn)))
    if variant == "best10":
        weights = rng.multinomial(GOOD, np.full(GOOD, 1 / GOOD), size=resamples).astype(np.float64)
        good = drawn[0, :GOOD]
        taus = TauB(TieGroups(x[good]), TieGroups(y[good]))(Counts(weights.T))
        return np.einsum("rg,rg->r", weights, hits[picks].mean(axis=1)), taus
    known = tau[~np.isnan(tau)]
    taus = known[rng.integers(len(known), size=(resamples, len(known)))].mean(axis=1) if len(known) else tau[:0]
    return hits.sum(axis=1)[picks].mean(axis=1), taus


def _estimates(score: Floats, truth: Floats, rng: np.random.Generator, resamples: int) -> dict[str, Estimate]:
    found = {}
    for variant, r in local_protocol(score, truth, rng=rng, resamples=resamples).items():
        reason = r.undefined or (LEFT_OUT if r.local_tau_at_10 is None else None)
        found[f"hits_at_10:{variant}"] = Estimate(r.hits_at_10, r.hits_low, r.hits_high, r.undefined)
        found[f"local_tau_at_10:{variant}"] = Estimate(r.local_tau_at_10, r.tau_low, r.tau_high, reason)
    return found


def _entries(variant: Variant, good: str) -> tuple[Metric, Metric]:
    source = "after figure 5 of Supernet Shifting (arXiv 2403.11380); ours where the caption is silent"
    where = f"in a pool of {SIZE} with {good}, mean over {POOLS} pools"
    shown = variant == "best10"
    hits = Metric(
        key=f"hits_at_10:{variant}",
        label=f"hits@10, {variant}",
        short=f"hits@10 ({variant})",
        direction="up",
        bounds=(0.0, float(GOOD)),
        chance=lambda n: GOOD * GOOD / SIZE,
        description=f"number of the ten good architectures in the predicted top ten {where}",
        source=source,
        digits=2,
        shown=shown,
        views=("unique",),
        least=LEAST,
        protocol=_estimates,
    )
    tau = Metric(
        key=f"local_tau_at_10:{variant}",
        label=f"local tau@10, {variant}",
        short=f"local τ@10 ({variant})",
        direction="up",
        bounds=(-1.0, 1.0),
        chance=lambda n: 0.0,
        description=f"Kendall's tau-b among the ten good architectures {where}",
        source=source,
        shown=shown,
        views=("unique",),
        least=LEAST,
        protocol=_estimates,
    )
    return hits, tau


ENTRIES: tuple[Metric, ...] = tuple(entry for variant, good in VARIANTS.items() for entry in _entries(variant, good))
"""The local protocol's metrics. Architectures must differ in function, so only the view of unique ones has them."""
