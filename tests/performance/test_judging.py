"""Speed of judging 15,625 scores, as a ratio to plain references measured in turn with it. Run with `make performance`.

Nothing is asserted about time: figures are for reading, in the printed lines and the table's extra_info.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from supertau.benchmarks.metrics import METRICS, evaluate, limited_threads, noise_ceiling

N = 15_625
RESAMPLES, PLAIN = 1000, 20
ROUNDS = 5


def pool() -> tuple[np.ndarray, np.ndarray]:
    """Return scores, shape (N,), and three trials of the ground truth, shape (N, 3), rounded as in published tables."""
    g = np.random.default_rng(0)
    quality = g.normal(90, 2, (N, 1))
    return quality[:, 0] + g.normal(0, 2, N), np.round(quality + g.normal(0, 0.3, (N, 3)), 2)


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one call: other processes on the machine do not count."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compared(benchmark, ours: Callable[[], object], reference: Callable[[], object], scale: float, what: str) -> None:
    """Time both in turn; scale: how much more of the reference's work the plain way would have to do."""
    with limited_threads(1):
        ours()
        plain, own = [], []

        def before() -> None:
            plain.append(scale * seconds(reference))

        benchmark.pedantic(lambda: own.append(seconds(ours)), setup=before, rounds=ROUNDS)
    ratio = statistics.median(plain) / statistics.median(own)
    figures = {"seconds": round(statistics.median(own), 3), f"{what}, seconds": round(statistics.median(plain), 3)}
    benchmark.extra_info.update({**figures, "ratio": round(ratio, 2)})
    print(f"\n{benchmark.name}: {benchmark.extra_info}")


@pytest.mark.benchmark(group="judging")
def test_all_metrics_with_intervals(benchmark) -> None:
    """The reference is a bootstrap of Kendall's tau alone with scipy, 20 resamples scaled to 1,000."""
    score, trials = pool()
    truth = trials.mean(axis=1)
    rng = np.random.default_rng(1)

    def reference() -> None:
        for _ in range(PLAIN):
            rows = rng.integers(N, size=N)
            stats.kendalltau(score[rows], truth[rows])

    def ours() -> None:
        found = evaluate(score, truth, view="unique", rng=np.random.default_rng(0), resamples=RESAMPLES)
        assert [v.key for v in found] == list(METRICS)

    compared(benchmark, ours, reference, RESAMPLES / PLAIN, "tau alone by scipy")


@pytest.mark.benchmark(group="judging")
def test_noise_ceiling_of_all_metrics(benchmark) -> None:
    """The reference is Kendall's tau alone with scipy, of each trial."""
    _, trials = pool()

    def reference() -> None:
        for s in range(3):
            stats.kendalltau(trials[:, s], np.delete(trials, s, axis=1).mean(axis=1))

    def ours() -> None:
        assert list(noise_ceiling(trials, view="unique", rng=np.random.default_rng(0)).values) == list(METRICS)

    compared(benchmark, ours, reference, 1, "tau alone by scipy")
