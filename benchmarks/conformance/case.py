"""The tiny problem an estimator is checked on, and the runs that several checks look at."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from supertau.benchmarks.images import load_problem_images
from supertau.benchmarks.presets import get_preset
from supertau.estimators.estimator import Budget, Estimator, Floats, Monitor
from supertau.estimators.oracle_noise import OracleProblem
from supertau.estimators.problem import ImageSet, Problem
from supertau.search_spaces.pool import select
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.spaces import get_space

PRESET = "smoke"
PASSES = 256
"""Budget of a check: 8 steps of a batch of 32."""
SEED, OTHER_SEED = 0, 1
CONNECTED, DISCONNECTED, FEW = 6, 2, 3
"""Numbers of architectures scored: with and without a path from input to output, and where a few are enough."""


class Skipped(Exception):
    """A check that does not apply, with the reason."""


@dataclass(frozen=True)
class Step:
    """One call of Monitor.after_step."""

    step: int
    total: int
    loss: float
    learning_rate: float
    train_images: float


@dataclass
class Recorder(Monitor):
    """Records what a training loop reports, and calls a function after each step."""

    steps: list[Step] = field(default_factory=list)
    then: Callable[[Estimator, int, int], None] | None = None

    def after_step(
        self, estimator: Estimator, step: int, total: int, loss: torch.Tensor | float, learning_rate: float
    ) -> None:
        images = estimator.cost()["train_images"]
        self.steps.append(Step(step, total, float(loss), float(learning_rate), float(images)))
        if self.then is not None:
            self.then(estimator, step, total)


@cache
def pool_of(space: SearchSpace) -> tuple[Architecture, ...]:
    """Return the architectures that checks score: connected ones first, then some whose output is constant."""
    if not space.is_listable:
        return select(space, f"random:{CONNECTED + DISCONNECTED}").architectures
    cut_off = (a for a in space.enumerate() if not space.is_connected(a))
    connected = select(space, f"connected:{CONNECTED}").architectures
    return (*connected, *itertools.islice(cut_off, DISCONNECTED))


def tiny_images() -> tuple[ImageSet, ImageSet]:
    """Return training and validation digits at the size of the smoke preset, in tensors of their own."""
    preset = get_preset(PRESET)
    return load_problem_images(preset.images, size=preset.image_size, train=preset.train, validation=preset.validation)


@dataclass
class Case:
    """One estimator class under check. Fits that checks only look at are made once and shared."""

    cls: type[Estimator]
    space: SearchSpace = field(default_factory=lambda: get_space("nasbench201"))

    @property
    def name(self) -> str:
        """Name of the class, for messages."""
        return self.cls.__name__

    @property
    def smaller_steps(self) -> str:
        """What to do when the tiny budget is too small for a step, for messages."""
        return f"set a smaller batch_size in {self.name}.presets['{PRESET}']"

    @property
    def few(self) -> tuple[Architecture, ...]:
        """The first architectures of the pool."""
        return self.pool[:FEW]

    @property
    def pool(self) -> tuple[Architecture, ...]:
        """The architectures to score."""
        return pool_of(self.space)

    def make(self) -> Estimator:
        """Return a new estimator with the values of the smoke preset."""
        return self.cls.configured(PRESET, space=self.space.name)

    def problem(self, seed: int = SEED, images: tuple[ImageSet, ImageSet] | None = None) -> Problem:
        """Return a new tiny problem, with a ground-truth trial of invented numbers for an estimator that uses it."""
        preset = get_preset(PRESET)
        train, validation = images or tiny_images()
        assert preset.channels is not None
        assert preset.cells is not None
        network = train.network(preset.channels, preset.cells)
        if not self.cls.uses_truth:
            return Problem(self.space, network, train, validation, seed)
        drawn = np.random.default_rng(seed).uniform(50, 95, len(self.pool)).tolist()
        trial = dict(zip(self.pool, drawn, strict=True))
        return OracleProblem(self.space, network, train, validation, seed, trial=trial)

    @property
    def budget(self) -> Budget:
        """What an estimator may train here; nothing for one that does not."""
        return Budget(PASSES if self.cls.trains else 0)

    def fit(self, problem: Problem | None = None, monitor: Monitor | None = None) -> Estimator:
        """Return a new, fitted estimator."""
        estimator = self.make()
        estimator.fit(problem or self.problem(), self.budget, monitor)
        return estimator

    @cached_property
    def _run(self) -> tuple[Estimator, Recorder]:
        recorder = Recorder()
        return self.fit(monitor=recorder), recorder

    @property
    def fitted(self) -> Estimator:
        """A fitted estimator, for looking at and scoring only."""
        return self._run[0]

    @property
    def steps(self) -> list[Step]:
        """The monitor's records of that fit; empty for an estimator that does not train."""
        return self._run[1].steps

    @cached_property
    def reference(self) -> dict[str, Floats]:
        """Scores of the few architectures after that fit."""
        return self.fitted.score(self.few)

    @cached_property
    def repeated(self) -> dict[str, Floats]:
        """The same from another instance, fitted with the same seed."""
        return self.fit().score(self.few)

    def needs_reproducible(self) -> None:
        """Skip a check that compares two runs when equal runs differ already."""
        if different(self.reference, self.repeated):
            raise Skipped("two runs with one seed differ; see same_seed_same_scores")

    def needs_steps(self) -> int:
        """Return a step in mid-training; skip where there is none."""
        if not self.cls.trains:
            raise Skipped("it does not train")
        if not self.steps or self.steps[-1].total < 2:
            raise Skipped("it made fewer than two steps; see monitor_is_called_every_step")
        return self.steps[-1].total // 2


def through_disk(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state after writing it to a checkpoint file and reading it; skip when that is impossible."""
    file = io.BytesIO()
    try:
        torch.save(state, file)
        file.seek(0)
        stored: dict[str, Any] = torch.load(file, weights_only=True)
    except Exception as error:  # pickling can fail in any way; another check reports it
        raise Skipped("its state cannot be saved and read; see state_is_plain_data") from error
    return stored


def different(one: dict[str, Floats], other: dict[str, Floats]) -> str:
    """Return how two sets of score columns differ; an empty text when every byte is the same."""
    if tuple(one) != tuple(other):
        return f"columns {tuple(one)} became {tuple(other)}"
    for name, values in one.items():
        a, b = np.asarray(values), np.asarray(other[name])
        if a.shape != b.shape:
            return f"column '{name}': shape {a.shape} became {b.shape}"
        if a.tobytes() != b.tobytes():
            rows = np.flatnonzero((a != b).reshape(len(a), -1).any(axis=1))
            row = int(rows[0]) if len(rows) else 0
            return f"column '{name}', {len(rows)} of {len(a)} scores, e.g. {a[row]} became {b[row]}"
    return ""


def joined(parts: Sequence[dict[str, Floats]], order: Sequence[int] | None = None) -> dict[str, Floats]:
    """Return score columns of several parts as one, its rows reordered where an order is given."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return columns if order is None else {name: values[list(order)] for name, values in columns.items()}
