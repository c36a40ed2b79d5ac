"""Top-K metrics of resamples against the metric on copied architectures, in large pools, ties and odd resamples."""

from __future__ import annotations

import numpy as np
import pytest

from supertau.benchmarks.metrics import counts as counts_module
from supertau.benchmarks.metrics.counts import Counts
from supertau.benchmarks.metrics.groups import Floats, TieGroups
from supertau.benchmarks.metrics.pool import Pool
from supertau.benchmarks.metrics.registry import METRICS, metric
from supertau.benchmarks.metrics.top import best_of_top, top_share

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
    together = entry.weighted(Pool(x, y), g)(Counts(counts))
    for found, column in zip(together, counts.T, strict=True):
        copies = column.astype(int)
        expected = entry(np.repeat(x, copies), np.repeat(y, copies), g)
        assert expected is not None
        assert found == pytest.approx(expected, abs=1e-9)
        assert found == pytest.approx(entry.weighted(Pool(x, y), g)(Counts(column[:, None]))[0], abs=1e-12)


@pytest.mark.parametrize("family", TAUS)
@pytest.mark.parametrize("k", ["10", "5pct"])
def test_tau_of_top_of_resamples_equals_the_metric_on_copies(family: str, k: str) -> None:
    (x, y), counts = _pool("plain"), _counts("plain")
    entry, g = metric(f"{family}_{k}"), np.random.default_rng(0)
    assert entry.weighted is not None
    for found, column in zip(entry.weighted(Pool(x, y), g)(Counts(counts)), counts.T.astype(int), strict=True):
        expected = entry(np.repeat(x, column), np.repeat(y, column), g)
        assert (np.isnan(found) and expected is None) or found == pytest.approx(expected, abs=1e-9)


def test_tau_of_top_breaks_ties_at_random_per_block() -> None:
    x, y = _pool("levels")
    entry = metric("tau_of_predicted_top_10")
    assert entry.weighted is not None
    g = np.random.default_rng(3)
    drawn = [entry.weighted(Pool(x, y), g)(Counts.once(N))[0] for _ in range(600)]
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
    assert np.isnan(weighted(Pool(x, y), np.random.default_rng(0))(Counts(counts))).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert np.isnan(weighted(Pool(y, x), np.random.default_rng(0))(Counts(counts))).tolist() == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("kind", ["plain", "pairs", "levels"])
@pytest.mark.parametrize("k", [1, 10, 150, 2900])
def test_leading_items_hold_the_top_of_every_resample_in_whole_groups(kind: str, k: int) -> None:
    x, counts = _pool(kind)[0], _counts(kind)
    groups = TieGroups(x)
    front = Counts(counts).front(groups, k)
    assert (front.weights.sum(axis=0) >= k).all()
    assert x[front.items].min() > np.delete(x, front.items).max(initial=-np.inf)
    np.testing.assert_array_equal(front.weights, counts[front.items])
    starts = groups.start[: len(front.size)]
    np.testing.assert_array_equal(front.size, np.add.reduceat(front.weights, starts, axis=0))
    np.testing.assert_array_equal(front.reached, np.cumsum(front.size, axis=0))
    once = Counts.once(N).front(groups, k)
    assert kind == "levels" or k > 150 or len(once.items) <= k + 6 * np.sqrt(k) + 22


def test_leading_items_do_not_depend_on_what_was_asked_before() -> None:
    x, table = _pool("pairs")[0], _counts("pairs")
    groups, counts = TieGroups(x), Counts(table)
    for k in (10, 300, 10, 1):
        one, other = counts.front(groups, k), Counts(table).front(groups, k)
        for field in ("items", "weights", "size", "reached"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_share_of_the_top_is_by_row() -> None:
    x = np.random.default_rng(0).integers(4, size=(5, 30)).astype(float)
    np.testing.assert_array_equal(top_share(x, 7), [top_share(row, 7) for row in x])
    assert top_share(x, 7).sum(axis=1) == pytest.approx(7)
    assert top_share(np.array([3.0, 1, 1, 1, 0]), 2).tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0])


@pytest.mark.parametrize("kind", ["plain", "pairs", "levels", "constant part"])
def test_outcomes_for_the_best_are_a_distribution(kind: str) -> None:
    (x, y), counts = _pool(kind), _counts(kind)
    law = best_of_top(TieGroups(x), TieGroups(y), Counts(counts), 10)
    np.testing.assert_allclose(law.mean(np.ones(len(law.taken)), counts.shape[1]), 1, atol=1e-9)
    assert (law.taken <= 10).all()


@pytest.mark.parametrize("kind", ["plain", "pairs", "levels"])
def test_standing_counts_the_copies_before_a_group(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    x, table = _pool(kind)[0], _counts(kind)
    groups = TieGroups(x)
    size = Counts(table).sizes(groups)
    g = np.random.default_rng(0)
    group, column = g.integers(len(groups.start), size=40), g.integers(5, size=40)
    group[:2] = 0, len(groups.start) - 1
    expected = (np.cumsum(size, axis=0) - size)[group, column]
    for each in (counts_module.EACH, 10**6):  # few pairs by chunks, many by sums over everything
        monkeypatch.setattr(counts_module, "EACH", each)
        before, at = Counts(table).standing(groups, group, column)
        np.testing.assert_array_equal(before, expected)
        np.testing.assert_array_equal(at, size[group, column])
        last = len(groups.start) - 1
        after, at = Counts(table).standing(groups.reversed, last - group, column)
        np.testing.assert_array_equal(after, N - expected - size[group, column])
        np.testing.assert_array_equal(at, size[group, column])


def test_tie_groups_are_in_order_and_reverse() -> None:
    for values in (np.random.default_rng(0).integers(5, size=50).astype(float), np.array([2.0, -0.0, 0.0, 1.0])):
        groups = TieGroups(values)
        np.testing.assert_array_equal(groups.order, np.argsort(-values, kind="stable"))
        np.testing.assert_array_equal(groups.reversed.order, np.argsort(values, kind="stable"))
        np.testing.assert_array_equal(groups.reversed.group, len(groups.start) - 1 - groups.group)
        assert groups.tied
        assert not TieGroups(np.arange(3.0)).tied


@pytest.mark.parametrize("longest", [3, 40])
def test_sums_of_groups(longest: int) -> None:
    values = np.repeat(np.arange(30.0), np.random.default_rng(1).integers(1, longest + 1, size=30))
    groups, weights = TieGroups(values), np.random.default_rng(0).integers(9, size=(len(values), 4)).astype(float)
    for number in (1, 17, 30):
        end = groups.start[number] if number < 30 else len(values)
        expected = np.add.reduceat(weights[:end], groups.start[:number], axis=0)
        np.testing.assert_array_equal(groups.summed(weights[:end], number), expected)
