"""Baselines that cost nothing: chance, parameter count, multiply-accumulates. What an estimator must at least beat."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from supertau.estimators.estimator import Estimator, Floats
from supertau.estimators.settings import Settings
from supertau.search_spaces.space import Architecture, Cost

Size = Literal["benchmark", "problem"]


def hashed(*parts: object) -> int:
    """Return an integer in [0, 2**63) that depends on the text of the parts only, and is the same on every machine."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class RandomConfig(Settings):
    """Nothing to set."""


class Random(Estimator):
    """Chance: a number in [0, 1] per architecture, a hash of seed and architecture.

    The score of an architecture does not depend on call order, so that a pool may be scored in parts.
    """

    Config = RandomConfig
    trains = False
    role = "baseline"
    title = "Random"

    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return uniform noise (N,)."""
        seed = self.problem.seed
        drawn = [hashed("random", seed, tuple(map(int, a))) / 2**63 for a in architectures]
        return {"score": np.array(drawn, dtype=np.float64)}


@dataclass(frozen=True)
class CostConfig(Settings):
    """Settings of a cost baseline.

    network: the size at which cost is counted: 'benchmark' is that of the networks whose accuracies are the ground
    truth (`SearchSpace.benchmark`), 'problem' that of the supernets in the same run.
    """

    network: Size = "benchmark"  # ours: the size of the ground-truth networks is known without training any


class CostBaseline(Estimator):
    """Ranks by the cost of the stand-alone network: bigger is better. The seed makes no difference."""

    Config = CostConfig
    trains = False
    deterministic = True
    role = "baseline"
    config: CostConfig

    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return the count (N,)."""
        problem = self.problem
        size = problem.space.benchmark if self.config.network == "benchmark" else problem.network
        counts = [self.count(problem.space.cost(a, size)) for a in architectures]
        return {"score": np.array(counts, dtype=np.float64)}

    @abstractmethod
    def count(self, cost: Cost) -> int:
        """Return the figure to rank by."""


class Params(CostBaseline):
    """Number of parameters of the stand-alone network, as the space counts them."""

    title = "Parameters"

    def count(self, cost: Cost) -> int:
        """Return the parameters."""
        return cost.parameters


class Macs(CostBaseline):
    """Multiply-accumulates of the stand-alone network on one image, as the space counts them."""

    title = "MACs"

    def count(self, cost: Cost) -> int:
        """Return the multiply-accumulates."""
        return cost.macs
