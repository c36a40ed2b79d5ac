"""Draws of architectures in proportion to the size of their stand-alone networks (NAO-V2, arXiv:1909.10815)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np

from supertau.estimators.estimator import Floats
from supertau.estimators.problem import Problem
from supertau.estimators.state import Stateful
from supertau.estimators.training.generators import numpy_stream
from supertau.search_spaces.space import LISTED, Architecture, SearchSpace

SizeSampling = Literal["size", "uniform"]
SizeNetwork = Literal["benchmark", "supernet"]
Size = Callable[[Architecture], int]

PROBES = 10_000
"""Draws that replace a list of all architectures, where there is none, to find the largest network."""


def stand_alone_size(problem: Problem, network: SizeNetwork) -> Size:
    """Return the function from an architecture to the parameters of its stand-alone network, cached.

    network: 'benchmark' counts at the width of the ground-truth networks, 'supernet' at that of the supernet.
    """
    config = problem.network
    if network == "benchmark":
        config = replace(problem.space.benchmark, classes=config.classes, image_channels=config.image_channels)
    return lru_cache(maxsize=LISTED)(lambda architecture: int(problem.space.cost(architecture, config).parameters))


def proportional(sizes: Sequence[int]) -> Floats:
    """Return sizes over their sum: the probability of each member of a pool."""
    values = np.asarray(sizes, dtype=np.float64)
    probabilities: Floats = values / values.sum()
    return probabilities


class SpaceSampler(Stateful):
    """Draws from the whole space, in proportion to size or uniformly.

    In proportion to size: a uniform draw is accepted with probability size / largest. `largest` is exact where the
    space can list its architectures. Elsewhere it is the largest of PROBES uniform draws, raised whenever a larger
    network is drawn; until then larger networks are drawn as if they were of that size.
    """

    state = ("largest",)

    def __init__(self, space: SearchSpace, size: Size, sampling: SizeSampling, seed: int) -> None:
        self.space, self.size, self.sampling = space, size, sampling
        self.exact = space.is_listable
        if self.exact:
            sizes = [size(architecture) for architecture in space.enumerate()]
        else:
            rng = numpy_stream(seed, "probe")
            sizes = [size(space.sample(rng)) for _ in range(PROBES)]
        self.largest, self.mean = max(sizes), sum(sizes) / len(sizes)

    def __call__(self, rng: np.random.Generator) -> Architecture:
        while True:
            drawn = self.space.sample(rng)
            if self.sampling == "uniform":
                return drawn
            size = self.size(drawn)
            self.largest = max(self.largest, size)
            if rng.random() * self.largest < size:
                return drawn
