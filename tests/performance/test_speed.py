"""Speed of training and scoring, as ratios to a plain loop measured in the same run. Run with `make performance`.

The reference is what one would write first: NCHW memory, one path per step, an optimiser over all parameters, images
indexed and normalised by hand; for scoring, one architecture after another in NCHW. Ratios above 1 mean faster than it.
Nothing is asserted about time: figures are for reading, in the table's extra_info.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.metrics import METRICS, evaluate
from estimators.estimator import Monitor
from estimators.problem import Augmentation, ImageSet, Problem
from estimators.spos import SPOS
from search_spaces.nasbench201 import NASBench201
from search_spaces.space import NetworkConfig

SETTINGS = {
    "C8-N1-16x16": (NetworkConfig(8, 1, 16), 128, 20),
    "C16-N5-32x32": (NetworkConfig(16, 5, 32), 64, 4),
}
ROUNDS = 5


@pytest.fixture(params=SETTINGS, ids=list(SETTINGS))
def setting(request: pytest.FixtureRequest) -> tuple[Problem, int, int]:
    network, batch, steps = SETTINGS[request.param]
    generator = torch.Generator().manual_seed(0)
    shape = (2048, 3, network.image_size, network.image_size)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (len(pixels),), generator=generator)
    images = ImageSet("noise", pixels, labels, 10, (0.5,) * 3, (0.25,) * 3, Augmentation(crop=2, flip=True))
    return Problem(NASBench201(), network, images, images, seed=0), batch, steps


def seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def paired(benchmark, ours: Callable[[], None], reference: Callable[[], None], unit: str, amount: int) -> None:
    """Time both in turn after a warm-up each, so that a machine whose speed drifts bends both alike."""
    ours()
    reference()
    references = []

    def before() -> None:
        references.append(seconds(reference))

    benchmark.pedantic(ours, setup=before, rounds=ROUNDS)
    own = statistics.median(benchmark.stats.stats.data)
    plain = statistics.median(references)
    benchmark.extra_info.update(
        {unit: round(amount / own), f"reference {unit}": round(amount / plain), "ratio": round(plain / own, 2)}
    )
    print(f"\n{amount / own:,.0f} {unit}, reference {amount / plain:,.0f}, ratio {plain / own:.2f}")


def plain_training(problem: Problem, batch: int, steps: int) -> Callable[[], None]:
    supernet = problem.space.supernet(problem.network).to(memory_format=torch.contiguous_format)
    optimiser = torch.optim.SGD(supernet.parameters(), 0.025, momentum=0.9, nesterov=True, weight_decay=5e-4)
    rng = np.random.default_rng(0)

    def work() -> None:
        supernet.train()
        for _ in range(steps):
            rows = torch.from_numpy(rng.choice(len(problem.train), batch, replace=False))
            images = (problem.train.images[rows].float() / 255 - 0.5) / 0.25
            loss = functional.cross_entropy(supernet(images, problem.space.sample(rng)), problem.train.labels[rows])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5.0)
            optimiser.step()

    return work


@pytest.mark.benchmark(group="training")
def test_training_images_per_second(benchmark, setting) -> None:
    problem, batch, steps = setting
    spos = SPOS.configured("smoke", {"batch_size": batch})
    spos.start(problem)
    spos.supernet.train()

    def ours() -> None:
        spos.loop.run(spos, spos.loop.step + steps, Monitor())

    paired(benchmark, ours, plain_training(problem, batch, steps), "images/s", batch * steps)


@pytest.mark.benchmark(group="scoring")
def test_scored_architecture_images_per_second(benchmark, setting) -> None:
    problem, _, steps = setting
    count = 512
    spos = SPOS.configured("smoke", {"bn": ("batch",), "scoring_batch": 256, "scoring_images": count})
    spos.start(problem)
    rng = np.random.default_rng(1)
    architectures = [problem.space.sample(rng) for _ in range(steps)]
    supernet = problem.space.supernet(problem.network).to(memory_format=torch.contiguous_format)
    images = (problem.validation.images[:count].float() / 255 - 0.5) / 0.25

    def reference() -> None:
        supernet.train()
        with torch.no_grad():
            for architecture in architectures:
                for part, labels in zip(images.split(256), problem.validation.labels[:count].split(256), strict=True):
                    (supernet(part, architecture).argmax(1) == labels).float().mean().item()

    paired(benchmark, lambda: spos.score(architectures) and None, reference, "architecture images/s", count * steps)


@pytest.mark.benchmark(group="metrics")
@pytest.mark.parametrize("key", list(METRICS))
def test_metric_on_the_whole_space(benchmark, key: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(90, 2, 15_625)
    score = truth + rng.normal(0, 2, 15_625)
    benchmark(METRICS[key], score, truth, rng)


@pytest.mark.benchmark(group="metrics with intervals")
def test_all_metrics_with_intervals_on_the_whole_space(benchmark) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(90, 2, 15_625)
    score = truth + rng.normal(0, 2, 15_625)
    benchmark.pedantic(lambda: evaluate(score, truth, rng=np.random.default_rng(0)), rounds=1)
