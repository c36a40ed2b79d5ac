"""Local protocol: what the pools hold, known results, chance, errors."""

from __future__ import annotations

import numpy as np
import pytest

from supertau.benchmarks.metrics.ceiling import noise_ceiling
from supertau.benchmarks.metrics.classes import merge_classes
from supertau.benchmarks.metrics.evaluation import evaluate
from supertau.benchmarks.metrics.local import LEFT_OUT, draw_pools, local_protocol
from supertau.benchmarks.metrics.pool import NonFiniteError, PoolError
from supertau.benchmarks.metrics.registry import METRICS


def _truth(n: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).permutation(n) / 10


def test_pools_hold_ten_good_and_ninety_distinct_others() -> None:
    truth = _truth()
    best, spread = (draw_pools(truth, v, np.random.default_rng(1)) for v in ("best10", "spread10"))
    for drawn in (best, spread):
        assert drawn.shape == (50, 100)
        assert all(len(set(pool)) == 100 for pool in drawn.tolist())
        assert (np.diff(truth[drawn[:, :10]], axis=1) < 0).all()
    assert {frozenset(pool[:10]) for pool in best.tolist()} == {frozenset(np.argsort(-truth)[:10].tolist())}
    place = np.argsort(np.argsort(-truth))[spread[:, :10]]
    np.testing.assert_array_equal(place // 5, np.tile(np.arange(10), (50, 1)))  # a tenth of the top 50 each
    assert len({tuple(p) for p in place.tolist()}) > 40


def test_perfect_and_reversed_scores() -> None:
    truth = _truth()
    perfect = local_protocol(truth, truth, rng=np.random.default_rng(0))["best10"]
    assert (perfect.hits_at_10, perfect.local_tau_at_10) == (10, 1)
    for found in local_protocol(-truth, truth, rng=np.random.default_rng(0)).values():
        assert found.hits_at_10 == 0
        assert found.local_tau_at_10 == pytest.approx(-1)


def test_random_scores_reach_chance() -> None:
    truth, g = _truth(), np.random.default_rng(5)
    hits: dict[str, list[float]] = {"best10": [], "spread10": []}
    for _ in range(30):
        for name, found in local_protocol(g.permutation(1000), truth, rng=g, resamples=10).items():
            hits[name].append(found.hits_at_10)
            assert found.chance_hits == 1
    assert np.mean(hits["best10"]) == pytest.approx(1, abs=0.6)
    assert np.mean(hits["spread10"]) == pytest.approx(1, abs=0.25)


def test_interval_of_best10_knows_there_are_only_ten() -> None:
    g, truth = np.random.default_rng(2), _truth()
    score = truth + g.normal(0, 3, size=1000)
    found = local_protocol(score, truth, rng=g)
    best, spread = found["best10"], found["spread10"]
    assert best.tau_high - best.tau_low > 0.5
    assert spread.tau_low <= spread.local_tau_at_10 <= spread.tau_high
    assert spread.hits_low <= spread.hits_at_10 <= spread.hits_high
    assert best.hits_low <= best.hits_at_10 <= best.hits_high


def test_equal_scores_of_the_good_ones_leave_tau_out_and_constant_scores_are_missing() -> None:
    truth = _truth()
    found = local_protocol(truth >= 90, truth, rng=np.random.default_rng(0))["spread10"]
    assert (found.local_tau_at_10, found.tau_low, found.tau_left_out) == (None, None, 50)
    # About 18 of a pool of 100 are at least 90, all equal, and share the ten places.
    assert found.hits_at_10 == pytest.approx(100 / 18.2, abs=0.4)
    constant = local_protocol(np.ones(1000), truth, rng=np.random.default_rng(0))["best10"]
    assert (constant.hits_at_10, constant.undefined) == (None, "undefined: constant score")
    assert constant.as_dict()["tau_left_out"] == 50


def test_estimators_with_equal_generators_meet_equal_pools() -> None:
    truth = _truth()
    a = local_protocol(truth**2, truth, rng=np.random.default_rng(3))
    assert a == local_protocol(truth, truth, rng=np.random.default_rng(3))


def test_local_errors() -> None:
    truth = _truth()
    with pytest.raises(PoolError, match="at least 50"):
        local_protocol(truth, truth, rng=np.random.default_rng(0), pools=5)
    with pytest.raises(PoolError, match="at least 200"):
        local_protocol(truth[:150], truth[:150], rng=np.random.default_rng(0))
    with pytest.raises(NonFiniteError, match="cell"):
        local_protocol([*truth[:-1], np.nan], truth, rng=np.random.default_rng(0), names=["cell"] * 1000)


KEYS = ["hits_at_10:best10", "local_tau_at_10:best10", "hits_at_10:spread10", "local_tau_at_10:spread10"]


def test_the_protocol_is_four_metrics_of_one_view() -> None:
    truth, g = _truth(), np.random.default_rng(1)
    score = truth + g.normal(0, 5, size=1000)
    found = {v.key: v for v in evaluate(score, truth, view="unique", rng=np.random.default_rng(3), resamples=200)}
    assert [key for key in found if ":" in key] == KEYS
    for variant, r in local_protocol(score, truth, rng=np.random.default_rng(3), resamples=200).items():
        hits, tau = found[f"hits_at_10:{variant}"], found[f"local_tau_at_10:{variant}"]
        assert (hits.value, hits.low, hits.high, hits.chance) == (r.hits_at_10, r.hits_low, r.hits_high, r.chance_hits)
        assert (tau.value, tau.low, tau.high, tau.chance) == (r.local_tau_at_10, r.tau_low, r.tau_high, 0)
        assert METRICS[hits.key](score, truth, np.random.default_rng(3)) == hits.value
    for view in ("all", "connected"):
        assert not {v.key for v in evaluate(score, truth, view=view, rng=g, resamples=5)}.intersection(KEYS)
        assert evaluate(score, truth, metrics=KEYS, view=view, rng=g) == []
    assert [v.key for v in evaluate(score, truth, metrics=KEYS[1:2], rng=g, resamples=5)] == KEYS[1:2]


def test_small_pools_have_no_local_protocol() -> None:
    truth, g = _truth(199), np.random.default_rng(0)
    assert not {v.key for v in evaluate(truth, truth, view="unique", rng=g, resamples=5)}.intersection(KEYS)
    assert METRICS[KEYS[0]].blocked(truth, truth) == "undefined: the pool has fewer than 200 architectures"
    assert METRICS[KEYS[0]](truth, truth, g) is None
    found = evaluate(_truth(200), _truth(200), view="unique", metrics=KEYS, rng=g, resamples=5)
    assert [v.key for v in found] == KEYS


def test_undefined_values_say_why() -> None:
    truth, g = _truth(), np.random.default_rng(0)
    equal = {v.key: v for v in evaluate(truth >= 90, truth, metrics=KEYS, rng=g, resamples=20)}
    assert equal["local_tau_at_10:spread10"].undefined == LEFT_OUT
    assert equal["hits_at_10:spread10"].undefined is None
    for found in evaluate(np.ones(1000), truth, metrics=KEYS, view="unique", rng=g):
        assert (found.value, found.undefined) == (None, "undefined: constant score")


def test_ceiling_is_the_first_trial_against_the_others() -> None:
    g = np.random.default_rng(0)
    trials = _truth(400)[:, None] + g.normal(0, 1, size=(400, 3))
    trials[0, 1] = np.nan
    found = noise_ceiling(trials, view="unique", rng=np.random.default_rng(5))
    used = trials[1:]
    expected = local_protocol(used[:, 0], used[:, 1:].mean(axis=1), rng=np.random.default_rng(5))
    for variant, r in expected.items():
        assert found.values[f"hits_at_10:{variant}"] == r.hits_at_10
        assert found.per_trial[f"local_tau_at_10:{variant}"] == (r.local_tau_at_10,)
    without = noise_ceiling(trials, view="all", rng=np.random.default_rng(5))
    assert without.values == {key: value for key, value in found.values.items() if key not in KEYS}
    assert not set(noise_ceiling(trials[:150], view="unique", rng=g).values).intersection(KEYS)


def test_merge_classes_averages() -> None:
    merged, labels = merge_classes([[1.0, 2, 3], [4, 5, 6]], ["b", "a", "b"])
    np.testing.assert_allclose(merged, [[2, 2], [5, 5]])
    assert labels.tolist() == ["a", "b"]
    np.testing.assert_allclose(merge_classes([1.0, 3.0], [7, 7])[0], [2])
    with pytest.raises(PoolError, match="class label"):
        merge_classes([1.0, 2.0], [1])
    with pytest.raises(PoolError, match="finite"):
        merge_classes([1.0, np.nan], [1, 2])
