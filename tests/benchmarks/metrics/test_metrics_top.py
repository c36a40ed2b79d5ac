"""Top-K metrics of resamples against the metric on copied architectures, in large pools, ties and odd resamples."""

from __future__ import annotations

import numpy as np
import pytest

from supertau.benchmarks.metrics.point import METRICS, metric
from supertau.benchmarks.metrics.top import best_of_top, top_share
from supertau.benchmarks.metrics.weighted import Floats, TieGroups

N = 3000
FAMILIES = ("p_at_top", "p_at_bottom", "best_rank_at", "worst_rank_at", "regret_at")
TAUS = ("tau_of_true_top", "tau_of_predicted_top")


def _pool(kind: str, n: int = N) -> tuple[Floats, Floats]:
    g = np.random.default_rng(1)
    x = g.standard_normal(n)
    y = np.round(90 + 3 * (0.7 * x + 0.7 * g.standard_normal(n)), 6)
    if kind == "pairs":  # isomorphic architectures: equal scores, other truths
        x = np.repeat(x[: n // 2], 2)
    elif kind == "levels":
        x, y = np.round(2 * x), np.round(y, 1)
    elif kind == "constant part":  # all of the predicted top, and most of the truth
        x, y = np.minimum(x, 0.8), np.maximum(y, 91)
    return x, y


def _counts(kind: str, n: int = N) -> Floats:
    """Return ordinary resamples, and ones that miss, or are made of, the best architectures."""
    g = np.random.default_rng(2)
    x, y = _pool(kind, n)
    share = np.full((5, n), 1 / n)
    share[1] = (x < np.quantile(x, 0.3)) + 1e-6
    share[2] = (y < np.quantile(y, 0.3)) + 1e-6
    share[3] = (x > np.quantile(x, 0.7)) + 1e-6
    share[4] = np.arange(n) < 3
    share /= share.sum(axis=1, keepdims=True)
    return np.stack([g.multinomial(n, s) for s in share], axis=1).astype(np.float64)


@pytest.mark.parametrize("kind", ["plain", "pairs", "levels", "constant part"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("k", ["1", "10", "5pct", "60pct"])
def test_top_k_of_resamples_equals_the_metric_on_copies(family: str, k: str, kind: str) -> None:
    (x, y), counts = _pool(kind), _counts(kind)
    entry, g = metric(f"{family}_{k}"), np.random.default_rng(0)
    assert entry.weighted is not None
    together = entry.weighted(x, y, g)(counts)
    for found, column in zip(together, counts.T, strict=True):
        copies = column.astype(int)
        expected = entry(np.repeat(x, copies), np.repeat(y, copies), g)
        assert expected is not None
        assert found == pytest.approx(expected, abs=1e-9)
        assert found == pytest.approx(entry.weighted(x, y, g)(column[:, None])[0], abs=1e-12)


@pytest.mark.parametrize("family", TAUS)
@pytest.mark.parametrize("k", ["10", "5pct"])
def test_tau_of_top_of_resamples_equals_the_metric_on_copies(family: str, k: str) -> None:
    (x, y), counts = _pool("plain"), _counts("plain")
    entry, g = metric(f"{family}_{k}"), np.random.default_rng(0)
    assert entry.weighted is not None
    for found, column in zip(entry.weighted(x, y, g)(counts), counts.T.astype(int), strict=True):
        expected = entry(np.repeat(x, column), np.repeat(y, column), g)
        assert (np.isnan(found) and expected is None) or found == pytest.approx(expected, abs=1e-9)


def test_tau_of_top_breaks_ties_at_random_per_block() -> None:
    x, y = _pool("levels")
    entry = metric("tau_of_predicted_top_10")
    assert entry.weighted is not None
    g = np.random.default_rng(3)
    drawn = [entry.weighted(x, y, g)(np.ones((N, 1)))[0] for _ in range(600)]
    averaged = [entry(x, y, g) for _ in range(20)]
    assert np.nanmean(drawn) == pytest.approx(np.mean(averaged), abs=0.05)


@pytest.mark.parametrize("key", [key for key in METRICS if "rank" in key or "regret" in key])
def test_constant_resamples_have_no_rank_and_no_regret(key: str) -> None:
    x, y = np.repeat(np.arange(20.0), 3), np.arange(60.0)
    counts = np.zeros((60, 4))
    counts[7, 0] = 60  # one architecture
    counts[[6, 8], 1] = 30  # equal scores
    counts[[6, 9], 2] = 30
    counts[:, 3] = 1
    weighted = METRICS[key].weighted
    assert weighted is not None
    assert np.isnan(weighted(x, y, np.random.default_rng(0))(counts)).tolist() == [True, True, False, False]
    assert np.isnan(weighted(y, x, np.random.default_rng(0))(counts)).tolist() == [True, True, False, False]


@pytest.mark.parametrize("kind", ["plain", "pairs", "levels"])
@pytest.mark.parametrize("k", [1, 10, 150, 2900])
def test_leading_items_hold_the_top_of_every_resample_in_whole_groups(kind: str, k: int) -> None:
    x, counts = _pool(kind)[0], _counts(kind)
    groups = TieGroups(x)
    items, weights = groups.leading(counts, k)
    assert (weights.sum(axis=0) >= k).all()
    assert x[items].min() > np.delete(x, items).max(initial=-np.inf)
    items, share = groups.top(np.ones((N, 1)), k)
    full = np.zeros(N)
    full[items] = share[:, 0]
    np.testing.assert_allclose(full, top_share(x, k), atol=1e-12)
    assert kind == "levels" or k > 150 or len(groups.leading(np.ones((N, 1)), k)[0]) <= k + 6 * np.sqrt(k) + 22


@pytest.mark.parametrize("kind", ["plain", "pairs", "levels", "constant part"])
def test_outcomes_for_the_best_are_a_distribution(kind: str) -> None:
    (x, y), counts = _pool(kind), _counts(kind)
    found = best_of_top(TieGroups(x), TieGroups(y), counts, 10)
    np.testing.assert_allclose(found.mean(np.ones(len(found.column)), counts.shape[1]), 1, atol=1e-9)
    assert (found.taken <= 10).all()


def test_standing_is_the_same_from_either_end() -> None:
    y, counts = _pool("levels")[1], _counts("levels")
    groups = TieGroups(y)
    size = groups.sizes(counts)
    for group in (0, 3, len(groups.start) // 2, len(groups.start) - 1):
        before, at = groups.standing(counts, np.full(5, group), np.arange(5))
        np.testing.assert_array_equal(before, size[:group].sum(axis=0))
        np.testing.assert_array_equal(at, size[group])
