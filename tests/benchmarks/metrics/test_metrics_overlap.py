"""The P@K curve against P@K itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supertau.benchmarks.metrics.counts import Counts
from supertau.benchmarks.metrics.overlap import overlap_curve
from supertau.benchmarks.metrics.point import p_at_top_k
from supertau.benchmarks.metrics.pool import Pool, PoolError


@given(seed=st.integers(0, 10_000), n=st.integers(2, 40), levels=st.sampled_from([2, 5, 1000]))
@settings(max_examples=80, deadline=None)
def test_curve_equals_the_point_metric_at_every_k(seed: int, n: int, levels: int) -> None:
    g = np.random.default_rng(seed)
    x, y = g.integers(levels, size=(2, n)).astype(float)
    curve = overlap_curve(x, y)
    expected = [p_at_top_k(k).weighted(Pool(x, y), g)(Counts.once(n))[0] for k in range(1, n + 1)]
    np.testing.assert_allclose(curve.precision, expected, atol=1e-12)
    np.testing.assert_array_equal(curve.k, np.arange(1, n + 1))
    np.testing.assert_allclose(curve.chance, curve.k / n)


def test_curve_by_hand_takes_the_best_first() -> None:
    curve = overlap_curve([4.0, 3, 2, 1], [4.0, 1, 3, 2])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 1])
    np.testing.assert_allclose(overlap_curve(np.ones(9), np.arange(9.0)).precision, np.arange(1, 10) / 9)


def test_random_scores_follow_the_chance_line() -> None:
    g = np.random.default_rng(0)
    drawn = np.mean([overlap_curve(g.permutation(30), np.arange(30.0)).precision for _ in range(3000)], axis=0)
    np.testing.assert_allclose(drawn, np.arange(1, 31) / 30, atol=0.02)


def test_curve_checks_its_pool() -> None:
    with pytest.raises(PoolError):
        overlap_curve([1.0], [1.0])
