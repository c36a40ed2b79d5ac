"""Intervals: coverage on simulated pools, pairing, runs, and what evaluate hands out."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from supertau.benchmarks.metrics.counts import Counts
from supertau.benchmarks.metrics.entry import Metric
from supertau.benchmarks.metrics.evaluation import evaluate, evaluate_many
from supertau.benchmarks.metrics.interval import NOT_DISTINGUISHABLE, paired_difference, runs_summary
from supertau.benchmarks.metrics.point import p_at_top_k
from supertau.benchmarks.metrics.pool import NonFiniteError, Pool, PoolError
from supertau.benchmarks.metrics.registry import METRICS, metric
from supertau.search_spaces.errors import SupertauError


def _pool(g: np.random.Generator, n: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    x = g.standard_normal(n)
    return x, rho * x + np.sqrt(1 - rho**2) * g.standard_normal(n)


def _coverage(key: str, target: float, n: int, rho: float, replications: int, resamples: int) -> float:
    inside = 0
    for replication in range(replications):
        g = np.random.default_rng([9, replication])
        found = evaluate(*_pool(g, n, rho), metrics=[key], rng=g, resamples=resamples)[0]
        assert found.low is not None
        assert found.high is not None
        inside += found.low - 1e-12 <= target <= found.high + 1e-12
    return inside / replications


def _tau(rho: float) -> float:
    return float(2 / np.pi * np.arcsin(rho))


def _p_at_top(rho: float) -> float:
    q = stats.norm.ppf(0.95)
    return float((0.1 - 1 + stats.multivariate_normal.cdf([q, q], cov=[[1, rho], [rho, 1]])) / 0.05)


# The standard error of a coverage is .007 at 1,000 replications and .014 at 250; the slow tests take more, and 2,500
# too, which is beyond the size where tau is expanded.
@pytest.mark.parametrize(
    ("n", "replications"), [(100, 1000), (1000, 250), pytest.param(2500, 1000, marks=pytest.mark.slow)]
)
def test_coverage_of_tau_is_between_93_and_97_percent(n: int, replications: int) -> None:
    assert 0.93 <= _coverage("kendall_tau", _tau(0.7), n, 0.7, replications, 250) <= 0.97


@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_coverage_of_p_at_top_5pct_is_at_least_nominal(rho: float) -> None:
    # The hits among K = 5 take six values, so that the interval can only be wide enough, not exact.
    assert _coverage("p_at_top_5pct", _p_at_top(rho), 100, rho, 250, 300) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("n", [100, 1000, 2500])
def test_coverage_over_the_range_of_association(n: int, rho: float) -> None:
    replications = 3000 if n == 100 else 1200
    assert 0.93 <= _coverage("kendall_tau", _tau(rho), n, rho, replications, 1000) <= 0.97
    if n > 100:
        assert 0.93 <= _coverage("spearman", 6 / np.pi * np.arcsin(rho / 2), n, rho, replications, 500) <= 0.97
    assert _coverage("p_at_top_5pct", _p_at_top(rho), n, rho, 400, 1000) >= 0.93


@pytest.mark.parametrize("key", [key for key, entry in METRICS.items() if entry.weighted is not None])
@pytest.mark.parametrize("tied", [False, True])
def test_weighted_form_equals_the_metric_on_copied_architectures(key: str, tied: bool) -> None:
    g = np.random.default_rng(4)
    x, y = _pool(g, 400, 0.6)
    if tied and not key.startswith("tau_of"):  # one random tie-break per block there
        x, y = np.round(x * 2), np.round(y * 2)
    entry = METRICS[key]
    counts = g.multinomial(400, np.full(400, 1 / 400), size=5).T.astype(float)
    assert entry.weighted is not None
    for found, column in zip(entry.weighted(Pool(x, y), g)(Counts(counts)), counts.T.astype(int), strict=True):
        assert found == pytest.approx(entry(np.repeat(x, column), np.repeat(y, column), g), abs=1e-9)


def test_evaluate_is_reproducible_and_a_metric_does_not_depend_on_the_others() -> None:
    x, y = _pool(np.random.default_rng(0), 150, 0.6)
    x = np.round(x * 3)
    first = evaluate(x, y, rng=np.random.default_rng(7), resamples=200)
    assert first == evaluate(x, y, rng=np.random.default_rng(7), resamples=200)
    assert [v.key for v in first] == [key for key, entry in METRICS.items() if entry.views is None]
    for entry in first:
        assert evaluate(x, y, metrics=[entry.key], rng=np.random.default_rng(7), resamples=200) == [entry]
        assert entry.low is not None
        assert entry.high is not None
        assert entry.low <= entry.high
        assert entry.chance is not None
        assert entry.n == 150
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate(x, y, rng=np.random.default_rng(7), resamples=50)
    assert (state == np.random.get_state()[1]).all()  # noqa: NPY002


def test_several_scores_are_judged_as_each_alone() -> None:
    g = np.random.default_rng(0)
    x, y = _pool(g, 250, 0.6)
    scores = [x, np.round(x), np.ones(250), -y]
    together = evaluate_many(scores, y, view="unique", rng=np.random.default_rng(7), resamples=60)
    alone = [evaluate(s, y, view="unique", rng=np.random.default_rng(7), resamples=60) for s in scores]
    assert together == alone
    assert evaluate_many([], y, rng=g) == []
    with pytest.raises(NonFiniteError, match="score is NaN"):
        evaluate_many([x, np.full(250, np.nan)], y, rng=g)


def _entry(**given: object) -> Metric:
    common = {
        "key": "share", "label": "share", "short": "share", "direction": "up", "bounds": (0.0, 1.0),
        "chance": lambda n: 0.5, "description": "", "source": "",
    }  # fmt: skip
    return Metric(**{**common, **given})  # type: ignore[arg-type]


def test_a_metric_given_as_a_plain_function_is_called_per_resample() -> None:
    entry = _entry(function=lambda score, truth, rng: float((score > truth).mean()))
    x, y = _pool(np.random.default_rng(0), 60, 0.5)
    found = evaluate(x, y, metrics=[entry], rng=np.random.default_rng(1), resamples=300)[0]
    share = float((x > y).mean())
    assert found.value == entry(x, y, np.random.default_rng(0)) == share
    margin = 1.96 * np.sqrt(share * (1 - share) / 60)
    assert (found.low, found.high) == (pytest.approx(share - margin, abs=0.04), pytest.approx(share + margin, abs=0.04))


def test_an_entry_needs_one_way_to_be_computed() -> None:
    with pytest.raises(SupertauError, match="'share' needs a function"):
        _entry()
    with pytest.raises(SupertauError, match="'share' has a protocol"):
        _entry(protocol=lambda *_: {}, function=lambda *_: 0.0)


def test_interval_narrows_with_the_pool_and_stays_in_range() -> None:
    g = np.random.default_rng(1)
    found = [evaluate(*_pool(g, n, 0.8), metrics=["kendall_tau"], rng=g)[0] for n in (400, 6400)]
    # sd of tau at correlation .8 is .42 / sqrt(N)
    for value, expected in zip(found, (0.083, 0.0208), strict=True):
        assert value.high - value.low == pytest.approx(expected, rel=0.15)
    perfect = evaluate(np.arange(50.0), np.arange(50.0), metrics=["kendall_tau"], rng=g)[0]
    assert (perfect.low, perfect.value, perfect.high) == (1, 1, 1)


def test_no_hit_among_five_is_not_a_certain_zero() -> None:
    truth = np.arange(100.0)
    found = evaluate(-truth, truth, metrics=["p_at_top_5pct"], rng=np.random.default_rng(0))[0]
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(0.434, abs=0.001)  # Wilson, 0 of 5


def test_constant_score_is_missing_with_its_reason() -> None:
    truth = np.arange(30.0)
    for found in evaluate(np.ones(30), truth, rng=np.random.default_rng(0), resamples=20):
        assert (found.value, found.low, found.high) == (None, None, None)
        assert found.undefined == "undefined: constant score"
    found = evaluate(truth, truth * 0, metrics=["spearman"], rng=np.random.default_rng(0))[0]
    assert found.as_dict()["undefined"] == "undefined: constant ground truth"


def test_a_metric_that_is_rarely_defined_on_resamples_has_no_interval() -> None:
    score = np.zeros(40)
    score[0] = 1  # a third of the resamples lack the only architecture that differs
    found = evaluate(score, np.arange(40.0), metrics=["kendall_tau"], rng=np.random.default_rng(0))[0]
    assert found.value is not None
    assert (found.low, found.high, found.undefined) == (None, None, None)


def test_regret_has_the_exact_chance_of_its_pool() -> None:
    found = evaluate([1.0, 2, 3], [60.0, 70, 90], metrics=["regret_at_1"], rng=np.random.default_rng(0))[0]
    assert found.chance == pytest.approx((30 + 20 + 0) / 3)


def test_errors_name_the_architectures() -> None:
    with pytest.raises(NonFiniteError, match=r"\|b\|") as caught:
        evaluate([1.0, np.nan], [1.0, 2.0], rng=np.random.default_rng(0), names=["|a|", "|b|"])
    assert (caught.value.indices, caught.value.names) == ((1,), ("|b|",))
    with pytest.raises(PoolError, match="names"):
        evaluate([1.0, 2.0], [1.0, 2.0], rng=np.random.default_rng(0), names=["a"])


def test_runs_summary() -> None:
    found = runs_summary([0.6, 0.7, 0.8, None])
    assert (found.n, found.left_out) == (3, 1)
    assert (found.mean, found.sd) == (pytest.approx(0.7), pytest.approx(0.1))
    assert found.high == pytest.approx(0.7 + 4.302653 * 0.1 / np.sqrt(3))
    two = runs_summary([0.6, 0.8])
    assert (two.sd, two.low, two.high) == (pytest.approx(np.sqrt(0.02)), None, None)
    assert runs_summary([0.5]).sd is None
    assert runs_summary([None]).mean is None
    with pytest.raises(PoolError, match="finite"):
        runs_summary([0.5, float("nan")])


def test_paired_difference_tells_apart_what_unpaired_intervals_cannot() -> None:
    g = np.random.default_rng(3)
    base, truth = _pool(g, 300, 0.7)
    close = base + 0.15 * g.standard_normal(300)
    found = paired_difference(base, close - 0.2 * truth, truth, "kendall_tau", g)
    assert found.difference == pytest.approx(
        METRICS["kendall_tau"](base, truth, g) - METRICS["kendall_tau"](close - 0.2 * truth, truth, g)
    )
    assert found.distinguishable
    assert found.verdict == "A is better"
    alone = evaluate(base, truth, metrics=["kendall_tau"], rng=g)[0]
    assert found.high - found.low < 0.8 * (alone.high - alone.low)
    swapped = paired_difference(close - 0.2 * truth, base, truth, "kendall_tau", g)
    assert swapped.verdict == "B is better"
    assert paired_difference(base, base, truth, "kendall_tau", g).verdict == NOT_DISTINGUISHABLE


def test_paired_difference_direction_of_metrics_where_less_is_better() -> None:
    g, truth = np.random.default_rng(0), np.arange(400.0)
    found = paired_difference(truth, -truth, truth, "worst_rank_at_5pct", g, resamples=200)
    assert found.difference < 0
    assert found.verdict == "A is better"


def test_paired_difference_with_seeds_rarely_tells_equal_methods_apart() -> None:
    g, wrong, pool_only = np.random.default_rng(8), 0, 0
    for _ in range(120):
        truth = g.standard_normal(150)
        # Each run carries its own quality, so runs differ more than the pool is noisy.
        scores = truth + np.exp(0.4 * g.standard_normal((6, 1))) * g.standard_normal((6, 150))
        wrong += paired_difference(scores[:3], scores[3:], truth, "kendall_tau", g, resamples=100).distinguishable
        pool_only += paired_difference(scores[:1], scores[3:4], truth, "kendall_tau", g, resamples=100).distinguishable
    assert wrong / 120 <= 0.1
    assert pool_only / 120 > 0.3  # what one seed cannot know


def test_paired_difference_errors() -> None:
    truth, g = np.arange(5.0), np.random.default_rng(0)
    with pytest.raises(PoolError, match="paired"):
        paired_difference(np.ones((2, 5)), np.ones((3, 5)), truth, "kendall_tau", g)
    undefined = paired_difference(np.ones((1, 5)), truth[None], truth, "kendall_tau", g)
    assert undefined.difference is None
    assert not undefined.distinguishable
    with pytest.raises(SupertauError, match="'hits_at_10:best10' cannot be compared in pairs"):
        paired_difference(np.arange(300.0), np.arange(300.0), np.arange(300.0), "hits_at_10:best10", g)


def test_a_whole_search_space_takes_seconds() -> None:
    g = np.random.default_rng(0)
    x, y = _pool(g, 15_625, 0.8)
    start = time.process_time()
    found = evaluate(x, y, rng=g)
    assert time.process_time() - start < 12  # under 1 s on one idle core
    assert found[0].high - found[0].low == pytest.approx(0.0137, abs=0.003)
    assert p_at_top_k(0.05).key == metric("p_at_top_5pct").key == found[4].key


def test_a_paired_difference_of_a_whole_search_space_takes_seconds() -> None:
    g = np.random.default_rng(0)
    x, y = _pool(g, 15_625, 0.8)
    scores = x + 0.3 * g.standard_normal((6, 15_625))
    start = time.process_time()
    found = paired_difference(scores[:3], scores[3:], y, "kendall_tau", g)
    assert time.process_time() - start < 12  # under 1 s on one idle core
    assert found.verdict == NOT_DISTINGUISHABLE
