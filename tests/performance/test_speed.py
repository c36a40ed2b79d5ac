"""Speed of training and scoring, as ratios to references measured in the same run. Run with `make performance`.

The references are what one would write first, of torch's own layers: for training, NCHW memory, one path per step, an
optimiser over all parameters, images indexed and normalised by hand; for scoring, one architecture after another in
channels_last. Ratios above 1 mean faster than it. The bound is the time of the same paths' convolutions alone, by
torch's own functions.
Nothing is asserted about time: figures are for reading, in the printed lines and the table's extra_info.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from supertau.benchmarks.metrics import METRICS, evaluate
from supertau.estimators.estimator import Monitor
from supertau.estimators.problem import Augmentation, ImageSet, Problem
from supertau.estimators.registry import ESTIMATORS
from supertau.estimators.spos import SPOS
from supertau.search_spaces.layers import torchs_own
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.space import Architecture, NetworkConfig, SearchSpace
from supertau.search_spaces.spaces import get_space
from supertau.search_spaces.supernet import Supernet

SETTINGS = {
    "C8-N1-16x16": (NetworkConfig(8, 1, 16), 128, 20),
    "C16-N1-16x16": (NetworkConfig(16, 1, 16), 128, 20),
    "C16-N5-32x32": (NetworkConfig(16, 5, 32), 64, 4),
    "C16-N1-8x8": (NetworkConfig(16, 1, 8), 64, 40),  # preset standard
}
ROUNDS = 5


@pytest.fixture(scope="module", autouse=True)
def every_core(one_thread: None) -> Iterator[None]:
    """Use all cores, unlike other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=SETTINGS, ids=list(SETTINGS))
def setting(request: pytest.FixtureRequest) -> tuple[Problem, int, int]:
    network, batch, steps = SETTINGS[request.param]
    return problem_of(NASBench201(), network), batch, steps


def problem_of(space: SearchSpace, network: NetworkConfig) -> Problem:
    generator = torch.Generator().manual_seed(0)
    shape = (2048, 3, network.image_size, network.image_size)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (len(pixels),), generator=generator)
    images = ImageSet("noise", pixels, labels, 10, (0.5,) * 3, (0.25,) * 3, Augmentation(crop=2, flip=True))
    return Problem(space, network, images, images, seed=0)


def seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def paired(
    benchmark,
    ours: Callable[[], None],
    reference: Callable[[], None],
    unit: str,
    amount: int,
    bound: Callable[[], float] | None = None,
    scale: float = 1.0,
) -> None:
    """Time both in turn after a warm-up each, so that a machine whose speed drifts bends both alike.

    bound: seconds that the same amount takes at least, measured anew before each round. scale: how much more work ours
    does than the reference.
    """
    ours()
    reference()
    references, bounds = [], []

    def before() -> None:
        references.append(scale * seconds(reference))
        if bound is not None:
            bounds.append(bound())

    benchmark.pedantic(ours, setup=before, rounds=ROUNDS)
    own = statistics.median(benchmark.stats.stats.data)
    plain = statistics.median(references)
    found = {unit: round(amount / own), f"reference {unit}": round(amount / plain), "ratio": round(plain / own, 2)}
    if bounds:
        least = statistics.median(bounds)
        found |= {"bound": round(amount / least), "share": round(least / own, 2)}
    benchmark.extra_info.update(found)
    print(f"\n{benchmark.name}: " + ", ".join(f"{name} {value:,}" for name, value in found.items()))


class Convolutions:
    """The convolutions of some paths on their own: what no arrangement of the rest can save."""

    def __init__(self, supernet: Supernet, paths: Sequence[Architecture], images: torch.Tensor) -> None:
        self.calls: Counter[tuple[nn.Conv2d, tuple[int, ...]]] = Counter()
        convolutions = [module for module in supernet.modules() if isinstance(module, nn.Conv2d)]
        hooks = [
            module.register_forward_hook(lambda m, given, _: self.calls.update([(m, tuple(given[0].shape))]))
            for module in convolutions
        ]
        with torch.inference_mode():
            for path in paths:
                supernet(images, path)
        for hook in hooks:
            hook.remove()

    def seconds(self, *, backward: bool) -> float:
        """Return the seconds of all of them, forward or forward and backward, from one timing per kind."""
        kinds: Counter[tuple[object, ...]] = Counter()
        for (m, shape), count in self.calls.items():
            kinds[shape, tuple(m.weight.shape), m.stride, m.padding, m.dilation, m.groups] += count
        return sum(count * self._one(backward, *kind) for kind, count in kinds.items())

    @staticmethod
    def _one(backward: bool, shape, weight, stride, padding, dilation, groups) -> float:
        states = torch.randn(shape).contiguous(memory_format=torch.channels_last)
        states.requires_grad_(backward and shape[1] > 3)  # nothing asks for the gradient of images
        kernel = torch.randn(weight).contiguous(memory_format=torch.channels_last).requires_grad_(backward)
        inputs = [tensor for tensor in (states, kernel) if tensor.requires_grad]

        def work() -> None:
            output = functional.conv2d(states, kernel, None, stride, padding, dilation, groups)
            if backward:
                torch.autograd.grad(output, inputs, torch.ones_like(output))

        work()
        return statistics.median(seconds(work) for _ in range(5))


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

    rng = np.random.default_rng(2)
    paths = [problem.space.sample(rng) for _ in range(100)]
    shape = (batch, 3, problem.network.image_size, problem.network.image_size)
    convolutions = Convolutions(spos.supernet, paths, torch.zeros(shape))

    def bound() -> float:
        return convolutions.seconds(backward=True) * steps / len(paths)

    paired(benchmark, ours, plain_training(problem, batch, steps), "images/s", batch * steps, bound)


@pytest.mark.benchmark(group="scoring")
def test_scored_architecture_images_per_second(benchmark, setting) -> None:
    """Runs of neighbours in the space's order, as in a sweep over all of it; the reference scores a part of them."""
    problem, _, steps = setting
    count, run, parts = 500 if problem.network.cells == 1 else 50, 2 * steps, 4
    spos = SPOS.configured("smoke", {"bn": ("batch",), "scoring_batch": count, "scoring_images": count})
    spos.start(problem)
    ordered = sorted(problem.space.enumerate(), key=problem.space.order)
    starts = [len(ordered) * (2 * part + 1) // (2 * parts) for part in range(parts)]
    architectures = [a for start in starts for a in ordered[start : start + run]]
    some = architectures[:: 2 * parts]
    supernet = problem.space.supernet(problem.network).train()
    images = (problem.validation.images[:count].float() / 255 - 0.5) / 0.25
    images = images.contiguous(memory_format=torch.channels_last)
    labels = problem.validation.labels[:count]
    convolutions = Convolutions(supernet, some, images)

    def reference() -> None:
        with torch.inference_mode(), torchs_own():
            for architecture in some:
                (supernet(images, architecture).argmax(1) == labels).float().mean().item()

    scale = len(architectures) / len(some)
    paired(
        benchmark, lambda: spos.score(architectures) and None, reference, "architecture images/s",
        count * len(architectures), lambda: convolutions.seconds(backward=False) * scale, scale,
    )  # fmt: skip


@pytest.mark.benchmark(group="zero-cost")
@pytest.mark.parametrize("name", ["grad_norm", "snip", "synflow", "jacob_cov", "naswot"])
@pytest.mark.parametrize("space", ["nasbench201", "nasbench301"])
def test_untrained_networks_measured(benchmark, space: str, name: str) -> None:
    """The reference is the same measure on torch's own layers."""
    problem = problem_of(get_space(space), NetworkConfig(16, 1, 16))
    measure = ESTIMATORS.resolve(name).configured("standard", {})
    measure.start(problem)
    rng = np.random.default_rng(0)
    architectures = [problem.space.sample(rng) for _ in range(5)]

    def ours() -> None:
        measure.score(architectures)

    def reference() -> None:
        with torchs_own():
            ours()

    paired(benchmark, ours, reference, "architectures/s", len(architectures))


@pytest.mark.benchmark(group="peak")
@pytest.mark.parametrize("what", ["matrix product", "3x3 convolution"])
def test_peak_of_this_machine(benchmark, what: str) -> None:
    if what == "matrix product":
        one, other = torch.randn(2, 2048, 2048)
        flops = 2 * 2048**3
        benchmark.pedantic(lambda: one @ other, rounds=ROUNDS, warmup_rounds=1)
    else:
        states = torch.randn(32, 64, 56, 56).contiguous(memory_format=torch.channels_last)
        kernel = torch.randn(64, 64, 3, 3).contiguous(memory_format=torch.channels_last)
        flops = 2 * 9 * 64 * states.numel()
        benchmark.pedantic(lambda: functional.conv2d(states, kernel, padding=1), rounds=ROUNDS, warmup_rounds=1)
    speed = flops / statistics.median(benchmark.stats.stats.data) / 1e9
    benchmark.extra_info["GFLOP/s"] = round(speed)
    print(f"\n{what}: {speed:.0f} GFLOP/s on {torch.get_num_threads()} threads")


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
