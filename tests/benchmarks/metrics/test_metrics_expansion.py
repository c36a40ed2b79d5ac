"""First-order expansion against exact weighted correlations: slopes, limits, and where it stands back."""

from __future__ import annotations

import numpy as np
import pytest

from supertau.benchmarks.metrics import expansion
from supertau.benchmarks.metrics.correlation import Pearson, correlation
from supertau.benchmarks.metrics.counts import Counts, Weighted
from supertau.benchmarks.metrics.evaluation import evaluate
from supertau.benchmarks.metrics.groups import Floats, TieGroups
from supertau.benchmarks.metrics.interval import paired_difference
from supertau.benchmarks.metrics.tau import TauB


def _pool(seed: int, n: int, rho: float, tied: bool) -> tuple[Floats, Floats]:
    g = np.random.default_rng(seed)
    x = g.standard_normal(n)
    y = rho * x + np.sqrt(1 - rho**2) * g.standard_normal(n)
    return (np.round(3 * x), np.round(8 * y)) if tied else (x, y)


def _resamples(n: int, seed: int, size: int) -> Floats:
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=size).T.astype(np.float64)


def _exact_spearman(x: TieGroups, y: TieGroups) -> Weighted:
    return lambda counts: correlation(counts.ranks(x), counts.ranks(y), counts.table)


def _fractional_kendall(x: TieGroups, y: TieGroups) -> Weighted:
    """Weighted tau-b pair by pair, also of counts that are not whole, which `TauB` is not made for."""
    one, other = (np.sign(g.group[:, None] - g.group).astype(float) for g in (x, y))

    def tau(counts: Counts) -> Floats:
        both, untied_x, untied_y = (
            np.einsum("ib,ij,jb->b", counts.table, sign, counts.table, optimize=True)
            for sign in (one * other, one**2, other**2)
        )
        return both / np.sqrt(untied_x * untied_y)

    return tau


FORMS = [(expansion.kendall, TauB), (expansion.spearman, _exact_spearman)]


@pytest.mark.parametrize(
    ("expand", "exact"), [(expansion.kendall, _fractional_kendall), (expansion.spearman, _exact_spearman)]
)
@pytest.mark.parametrize("rho", [0.0, 0.7])
@pytest.mark.parametrize("tied", [False, True])
def test_slopes_are_the_derivatives_of_the_exact_form(
    monkeypatch: pytest.MonkeyPatch, expand: object, exact: object, rho: float, tied: bool
) -> None:
    monkeypatch.setattr(expansion, "LARGE", 10)
    monkeypatch.setattr(expansion, "LEAST_MOVED", 0)
    x, y = _pool(0, 150, rho, tied)
    ones, step = np.ones((150, 1)), 1e-5
    expanded, weighted = (form(TieGroups(x), TieGroups(y)) for form in (expand, exact))

    def found(table: Floats) -> Floats:
        return expanded(Counts(table))

    def reference(table: Floats) -> Floats:
        return weighted(Counts(table))

    assert found(ones)[0] == pytest.approx(reference(ones)[0], abs=1e-12)
    # Weight moves from one architecture to another: the size of the pool stays.
    shift = np.eye(150) - np.roll(np.eye(150), 1, axis=0)
    slopes = (reference(ones + step * shift) - reference(ones - step * shift)) / (2 * step)
    np.testing.assert_allclose(found(ones + shift) - found(ones), slopes, atol=1e-8)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
@pytest.mark.parametrize(("expand", "exact"), FORMS)
def test_limits_stay_close_to_those_of_the_exact_form(expand: object, exact: object, rho: float, tied: bool) -> None:
    x, y = _pool(1, 3000, rho, tied)
    counts = _resamples(3000, 2, 400)
    expanded, weighted = (form(TieGroups(x), TieGroups(y))(Counts(counts)) for form in (expand, exact))
    assert not np.array_equal(expanded, weighted)
    found, expected = (np.quantile(v, [0.025, 0.975]) for v in (expanded, weighted))
    # Tail quantiles of 400 scatter; the mean and the spread say the same without that.
    assert np.abs(found - expected).max() < 0.04 * np.ptp(expected)
    assert abs((expanded - weighted).mean()) < 0.04 * weighted.std()
    assert expanded.std() == pytest.approx(weighted.std(), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8, 0.9])
def test_limits_of_tau_with_many_resamples(rho: float, tied: bool) -> None:
    x, y = _pool(1, 3000, rho, tied)
    counts = _resamples(3000, 2, 5000)
    found, expected = (
        np.quantile(f(TieGroups(x), TieGroups(y))(Counts(counts)), [0.025, 0.975]) for f in (expansion.kendall, TauB)
    )
    assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)


def test_expansion_stands_back_where_it_is_not_close() -> None:
    x, y = _pool(3, 2500, 0.8, False)

    def close(a: Floats, b: Floats) -> bool:
        return expansion.is_close(TieGroups(a), TieGroups(b))

    assert close(x, y)
    assert close(np.round(x), y)
    assert not close(x[:2000], y[:2000])
    assert not close(np.maximum(x, 0.5), y)  # one tie group of 69 %
    near = x + 1e-3 * y
    assert not close(x, near)
    assert not close(-x, near)
    counts, groups = Counts(_resamples(2500, 4, 3)), (TieGroups(x), TieGroups(near))
    for expand, exact in FORMS:
        np.testing.assert_array_equal(expand(*groups)(counts), exact(*groups)(counts))


def test_evaluate_of_a_large_pool_equals_the_exact_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _pool(5, 2500, 0.7, False)
    other = np.stack([x, x + 0.3 * _pool(6, 2500, 0.0, False)[0]])
    keys = ["kendall_tau", "spearman", "sparse_tau"]

    def run() -> tuple[Floats, Floats]:
        single = evaluate(x, 90 + y, metrics=keys, rng=np.random.default_rng(0), resamples=300)
        pair = paired_difference(
            other, other[::-1] + 0.2 * y, y, "kendall_tau", np.random.default_rng(0), resamples=300
        )
        limits = [[v.value, v.low, v.high] for v in [*single]] + [[pair.difference, pair.low, pair.high]]
        return np.array(limits)[:, 0], np.array(limits)[:, 1:]

    value, limits = run()
    monkeypatch.setattr(expansion, "LARGE", 10**6)
    exact_value, exact_limits = run()
    np.testing.assert_allclose(value, exact_value, atol=1e-12)
    assert (np.abs(limits - exact_limits) < 0.04 * np.ptp(exact_limits, axis=1)[:, None]).all()


def test_pearson_without_its_outlier_keeps_its_digits() -> None:
    g = np.random.default_rng(7)
    x = g.standard_normal(40)
    y = x + g.standard_normal(40)
    expected = np.corrcoef(x[1:], y[1:])[0, 1]
    x[0], y[0] = 1e9, -1e8
    counts = np.ones((40, 2))
    counts[0, 0] = 0
    found = Pearson(x, y)(Counts(counts))
    assert found[0] == pytest.approx(expected, abs=1e-5)  # the scores themselves lose digits at 1e9
    assert found[1] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    counts[1:, 0] = np.eye(39)[3] * 40
    assert np.isnan(Pearson(x, y)(Counts(counts))[0])
