"""Point metrics against scipy, hand-computed values, brute force over tie-breaks, and exact chance levels."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from supertau.benchmarks.metrics.counts import Counts
from supertau.benchmarks.metrics.groups import TieGroups
from supertau.benchmarks.metrics.point import (
    best_rank_at_k,
    p_at_bottom_k,
    p_at_top_k,
    regret_at_k,
    tau_of_predicted_top_k,
    tau_of_true_top_k,
    worst_rank_at_k,
)
from supertau.benchmarks.metrics.pool import NonFiniteError, PoolError
from supertau.benchmarks.metrics.registry import METRICS, metric
from supertau.benchmarks.metrics.tau import TauB, balance
from supertau.benchmarks.metrics.top import top_size
from supertau.search_spaces.errors import SupertauError, UnknownName

POINTS = {key: entry for key, entry in METRICS.items() if entry.protocol is None}
RANK_KEYS = [key for key in POINTS if key not in ("pearson", "sparse_tau") and not key.startswith("regret")]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@st.composite
def pools(draw: st.DrawFn, smallest: int = 2, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pools with many ties (few levels) or few."""
    n = draw(st.integers(smallest, 60))
    top = levels or draw(st.sampled_from([2, 4, 1000]))
    values = st.lists(st.integers(0, top), min_size=n, max_size=n)
    return np.array(draw(values), dtype=float), np.array(draw(values), dtype=float)


@pytest.mark.parametrize(
    ("key", "reference"),
    [("kendall_tau", stats.kendalltau), ("spearman", stats.spearmanr), ("pearson", stats.pearsonr)],
)
@given(pool=pools())
@settings(max_examples=150, deadline=None)
def test_correlations_equal_scipy_with_ties(key: str, reference: object, pool: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pool
    value = METRICS[key](x, y, rng())
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert value is None
    else:
        assert value == pytest.approx(float(reference(x, y)[0]), abs=1e-12)


@pytest.mark.parametrize("levels", [3, 40, 10**6])
@pytest.mark.parametrize("n", [129, 700, 3000])
def test_blocked_tau_equals_scipy_beyond_one_block(n: int, levels: int) -> None:
    g = np.random.default_rng(n + levels)
    x = g.integers(levels, size=n).astype(float)
    y = np.round(x + g.normal(size=n) * levels / 2)
    assert METRICS["kendall_tau"](x, y, g) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)


@given(pool=pools(levels=5), width=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_weighted_tau_equals_scipy_on_repeated_architectures(
    pool: tuple[np.ndarray, np.ndarray], width: int, seed: int
) -> None:
    x, y = pool
    counts = np.random.default_rng(seed).integers(0, 4, size=(len(x), 3)).astype(float)
    for found, column in zip(
        TauB(TieGroups(x), TieGroups(y), width)(Counts(counts)), counts.T.astype(int), strict=True
    ):
        a, b = np.repeat(x, column), np.repeat(y, column)
        if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(stats.kendalltau(a, b)[0], abs=1e-12)


@given(pool=pools(), shift=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_balance_counts_each_items_pairs(pool: tuple[np.ndarray, np.ndarray], shift: int) -> None:
    x, y = (np.tile(v, 3) + shift * np.arange(3 * len(v)) for v in pool)  # also beyond one block, tied or not
    signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    np.testing.assert_array_equal(balance(TieGroups(x), TieGroups(y)), signs.sum(axis=1))


@pytest.mark.parametrize("n", [2, 63, 64, 65, 1000])
def test_balance_without_ties(n: int) -> None:
    x, y = (np.random.default_rng(seed).permutation(n).astype(float) for seed in (0, 1))
    signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    np.testing.assert_array_equal(balance(TieGroups(x), TieGroups(y)), signs.sum(axis=1))


def test_kendall_is_tau_b_not_tau_a() -> None:
    x, y = [1.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]
    # 5 concordant pairs, 1 tied in score, of 6: tau-a is 5/6.
    assert METRICS["kendall_tau"](x, y, rng()) == pytest.approx(5 / np.sqrt(5 * 6))


def test_sparse_tau_does_not_order_differences_below_a_tenth_of_a_point() -> None:
    truth = [90.01, 90.04, 91.0, 92.0]
    assert METRICS["kendall_tau"]([2, 1, 3, 4], truth, rng()) == pytest.approx(4 / 6)
    assert METRICS["sparse_tau"]([2, 1, 3, 4], truth, rng()) == pytest.approx(5 / np.sqrt(5 * 6))


@given(pool=pools())
@settings(max_examples=100, deadline=None)
def test_tau_is_symmetric_and_reversal_negates_it(pool: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pool
    for key in ("kendall_tau", "spearman", "pearson"):
        value = METRICS[key](x, y, rng())
        if value is not None:
            assert METRICS[key](y, x, rng()) == pytest.approx(value, abs=1e-12)
            assert METRICS[key](-x, y, rng()) == pytest.approx(-value, abs=1e-12)


@given(pool=pools(smallest=12, levels=1000), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_rank_metrics_ignore_monotone_transforms(pool: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    x, y = pool
    for key in RANK_KEYS:
        value = METRICS[key](x, y, np.random.default_rng(seed))
        same = METRICS[key](x**3 / 7 - 5, np.log1p(y), np.random.default_rng(seed))
        assert (value is None) == (same is None)
        assert value is None or value == pytest.approx(same, abs=1e-12)


@given(pool=pools(smallest=12), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_order_of_the_pool_does_not_matter_and_bounds_hold(pool: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    x, y = pool
    order = np.random.default_rng(seed).permutation(len(x))
    for key, entry in POINTS.items():
        value = entry(x, y, rng())
        if value is None:
            continue
        low, high = entry.bounds
        assert low <= value <= min(high, np.ptp(y) if key.startswith("regret") else 1)
        if not key.startswith("tau_of"):  # those average random tie-breaks
            assert entry(x[order], y[order], rng()) == pytest.approx(value, abs=1e-9)


def test_top_k_values_by_hand() -> None:
    truth = np.array([10.0, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    score = np.array([0.0, 1, 9, 2, 3, 4, 5, 8, 6, 7])  # predicted best first: 30, 80, 100, 90, 70, ...
    g = rng()
    assert p_at_top_k(0.3)(score, truth, g) == pytest.approx(2 / 3)
    assert p_at_top_k(1)(score, truth, g) == 0
    assert p_at_bottom_k(0.3)(score, truth, g) == pytest.approx(2 / 3)
    assert p_at_bottom_k(2)(score, truth, g) == 1
    assert best_rank_at_k(2)(score, truth, g) == pytest.approx(3 / 10)
    assert worst_rank_at_k(2)(score, truth, g) == pytest.approx(8 / 10)
    assert regret_at_k(2)(score, truth, g) == pytest.approx(20)
    assert tau_of_predicted_top_k(4)(score, truth, g) == pytest.approx((1 - 5) / 6)
    assert tau_of_true_top_k(4)(score, truth, g) == pytest.approx((4 - 2) / 6)


def test_perfect_ranking_reaches_every_optimum() -> None:
    truth = np.arange(200.0)
    found = {key: entry(truth, truth, rng()) for key, entry in POINTS.items()}
    assert found["best_rank_at_10"] == 1 / 200
    assert found["worst_rank_at_10"] == 10 / 200
    assert found["regret_at_10"] == 0
    assert all(v == pytest.approx(1) for k, v in found.items() if METRICS[k].direction == "up" and k != "sparse_tau")


def _brute_force(score: np.ndarray, truth: np.ndarray, k: int) -> dict[str, float]:
    """Average over every order of the pool: all random tie-breaks in score and in truth, independently."""
    n, sums = len(score), np.zeros(5)
    orders = [np.array(p) for p in permutations(range(n))]
    tops = {tuple(p[np.argsort(-score[p], kind="stable")]) for p in orders}
    ranks = {tuple(p[np.argsort(-truth[p], kind="stable")]) for p in orders}
    for top in tops:
        for rank in ranks:
            place = {item: i + 1 for i, item in enumerate(rank)}
            chosen = [place[i] for i in top[:k]]
            hits, low = len(set(top[:k]) & set(rank[:k])), len(set(top[-k:]) & set(rank[-k:]))
            regret = truth.max() - truth[list(top[:k])].max()
            sums += [hits / k, low / k, min(chosen) / n, max(chosen) / n, regret]
    families = ("p_at_top", "p_at_bottom", "best_rank_at", "worst_rank_at", "regret_at")
    return {f"{f}_{k}": s / len(tops) / len(ranks) for f, s in zip(families, sums, strict=True)}


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(6))
def test_ties_are_the_exact_expectation_over_all_tie_breaks(seed: int, k: int) -> None:
    g = np.random.default_rng(seed)
    score, truth = g.integers(3, size=6).astype(float), g.integers(3, size=6).astype(float)
    score[0], score[1], truth[0], truth[1] = 0, 1, 0, 1
    for name, expected in _brute_force(score, truth, k).items():
        assert metric(name)(score, truth, g) == pytest.approx(expected, abs=1e-12), name


def test_ties_are_not_broken_by_position() -> None:
    truth = np.array([4.0, 3, 2, 1])
    # argsort would find the best architecture with certainty in one of the two orders.
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        assert p_at_top_k(1)(np.array([1.0, 1, 1, 0])[order], truth[order], rng()) == pytest.approx(1 / 3)


def test_tau_of_top_averages_tie_breaks_at_the_boundary() -> None:
    score, truth = np.array([3.0, 2, 1, 1, 0]), np.array([5.0, 4, 3, 9, 1])
    # Top 3 is {5, 4, 3} (tau 1) or {5, 4, 9} (tau -1/3), each with probability 1/2.
    values = [tau_of_predicted_top_k(3)(score, truth, np.random.default_rng(s)) for s in range(40)]
    assert np.mean(values) == pytest.approx(1 / 3, abs=0.06)
    assert len(set(values)) > 1
    untied = np.array([3.0, 2, 1, 0.5, 0])
    assert {tau_of_predicted_top_k(3)(untied, truth, np.random.default_rng(s)) for s in range(5)} == {1.0}


@pytest.mark.parametrize("k", [10, 0.05, 0.2, 1])
def test_chance_levels_equal_simulation(k: int | float) -> None:
    n, g = 60, np.random.default_rng(1)
    truth = np.round(g.normal(90, 2, size=n), 0)  # with ties: the chance levels stay exact
    entries = [p_at_top_k(k), p_at_bottom_k(k), best_rank_at_k(k), worst_rank_at_k(k), regret_at_k(k)]
    drawn = np.array([[e(g.permutation(n), truth, g) for e in entries] for _ in range(500)])
    for entry, column in zip(entries, drawn.T, strict=True):
        chance = entry.chance_of_truth(truth) if entry.chance_of_truth else entry.chance(n)
        assert column.mean() == pytest.approx(chance, abs=4 * column.std() / np.sqrt(len(column)) + 1e-12), entry.key


def test_spread_of_tau_over_ten_without_association() -> None:
    g = np.random.default_rng(2)
    drawn = [METRICS["kendall_tau"](g.permutation(10), np.arange(10.0), g) for _ in range(4000)]
    assert np.std(drawn) == pytest.approx(0.248, abs=0.008)
    assert np.mean(drawn) == pytest.approx(METRICS["kendall_tau"].chance(10), abs=0.015)


def test_k_from_a_ratio_is_the_floor_and_at_least_one() -> None:
    assert [top_size(0.05, n) for n in (10, 39, 40, 15625, 6466)] == [1, 1, 2, 781, 323]
    assert top_size(0.29, 100) == 29
    assert top_size(7, 100) == 7


def test_constant_and_too_small_pools_are_undefined() -> None:
    truth = np.arange(20.0)
    for entry in METRICS.values():
        assert entry(np.ones(20), truth, rng()) is None
        assert entry(truth, np.ones(20), rng()) is None
    assert METRICS["kendall_tau"].blocked(np.ones(20), truth) == "undefined: constant score"
    assert "fewer than 10" in str(METRICS["regret_at_10"].blocked(truth[:5], truth[:5]))
    assert tau_of_true_top_k(3)(np.array([1.0, 1, 1, 0]), np.array([4.0, 3, 2, 1]), rng()) is None


def test_bad_pools_raise_and_name_what_is_wrong() -> None:
    entry = METRICS["kendall_tau"]
    with pytest.raises(NonFiniteError, match="position 1, position 3") as caught:
        entry([0.0, np.nan, 1.0, np.inf], np.arange(4.0), rng())
    assert caught.value.indices == (1, 3)
    with pytest.raises(NonFiniteError, match="ground truth"):
        entry(np.arange(3.0), [1.0, -np.inf, 2.0], rng())
    with pytest.raises(PoolError, match="at least 2"):
        entry([1.0], [1.0], rng())
    with pytest.raises(PoolError, match="one length"):
        entry([1.0, 2.0], [1.0, 2.0, 3.0], rng())


def test_lookup() -> None:
    assert metric("kendall_tau") is METRICS["kendall_tau"]
    assert metric("p_at_top_12.5pct").k == 0.125
    assert metric("regret_at_50").k == 50
    assert all(key == entry.key and metric(key) is entry for key, entry in METRICS.items())
    with pytest.raises(UnknownName, match=r"Did you mean 'kendall_tau'\?.*Available: .*spearman"):
        metric("kendal_tau")
    with pytest.raises(SupertauError, match="ratio"):
        p_at_top_k(1.5)
    with pytest.raises(SupertauError, match="count"):
        metric("p_at_top_0")
