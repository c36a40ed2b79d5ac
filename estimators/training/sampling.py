"""Uniform draws of architectures for training."""

from __future__ import annotations

from typing import Literal

import numpy as np

from supertau.estimators.settings import check
from supertau.estimators.state import Stateful
from supertau.search_spaces.space import Architecture, SearchSpace

Sampling = Literal["space", "live", "unique", "unique-live"]
"""What a training step draws from, uniformly.

space: all encodings. live: encodings with a convolution on a path from input to output. unique: one representative per
isomorphism class. unique-live: representatives with a live convolution (6,321 on NAS-Bench-201).
"""


class PathSampler(Stateful):
    """Draws architectures for training, uniformly over one of the sets named by `Sampling`."""

    state = ("rng",)

    def __init__(self, space: SearchSpace, sampling: Sampling, rng: np.random.Generator) -> None:
        check("sampling", sampling, Sampling)
        self.space, self.rng = space, rng
        self.live = sampling.endswith("live")
        self.pool = space.unique() if sampling.startswith("unique") else None

    def __call__(self) -> Architecture:
        while True:
            drawn = self.space.sample(self.rng) if self.pool is None else self.pool[self.rng.integers(len(self.pool))]
            if not self.live or self.space.has_live_convolution(drawn):
                return drawn
