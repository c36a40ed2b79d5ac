"""Seeded random numbers: one independent stream per purpose, whose state can be stored in a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

STREAMS = ("weights", "order", "paths", "augmentation", "subset", "batch", "search", "probe", "predictor", "gate")
"""Purposes; the position in this tuple is part of the seed, so new ones go to the end."""


def stage_seed(seed: int, stage: int) -> int:
    """Return the seed of a stage of a run: for the first the run's own, for others an independent one.

    Not seed + stage: the second stage of one run would then be the first stage of another seed's.
    """
    return int(np.random.SeedSequence(seed, spawn_key=(stage,)).generate_state(1)[0]) if stage else seed


def numpy_stream(seed: int, purpose: str) -> np.random.Generator:
    """Return the numpy generator of a purpose."""
    return np.random.default_rng([seed, STREAMS.index(purpose)])


def torch_stream(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the torch generator of a purpose, on a device."""
    words = np.random.SeedSequence([seed, STREAMS.index(purpose)]).generate_state(2, np.uint32)
    return torch.Generator(device=device).manual_seed(int(words[0]) << 31 ^ int(words[1]))


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Run a block with torch's global generator seeded for weight initialisation, and put it back afterwards.

    Modules of torch draw their initial weights from the global generator and take no other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, STREAMS.index("weights")]).generate_state(1)[0]))
        yield


def numpy_state(rng: np.random.Generator) -> str:
    """Return a generator's state as text: its integers are too wide for a tensor."""
    return json.dumps(rng.bit_generator.state)


def set_numpy_state(rng: np.random.Generator, state: str) -> None:
    """Give a generator the state that `numpy_state` returned."""
    value: dict[str, Any] = json.loads(state)
    rng.bit_generator.state = value
