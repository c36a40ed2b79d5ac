"""The estimator interface: `fit` on a problem within a budget, then `score` architectures; higher is better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from supertau.estimators.problem import Problem
from supertau.estimators.state import Stateful
from supertau.search_spaces.errors import SupertauError, unknown
from supertau.search_spaces.space import Architecture

Floats = npt.NDArray[np.float64]


class NotFitted(SupertauError):
    """`score` was called before `fit` or `restore`."""


class Diverged(SupertauError):
    """Training produced a loss that is not finite."""

    def __init__(self, step: int, learning_rate: float, loss: float) -> None:
        super().__init__(
            f"training diverged: loss {loss} at step {step}, learning rate {learning_rate:g}. "
            "Lower the learning rate or switch gradient clipping on."
        )
        self.step, self.learning_rate, self.loss = step, learning_rate, loss


@dataclass(frozen=True)
class Budget:
    """How much an estimator may train: passes = training images run forward and backward, repeats counted."""

    passes: int

    def steps(self, batch_size: int) -> int:
        """Return how many steps of a batch size fit into the budget."""
        return self.passes // batch_size


class Monitor:
    """What a training loop reports to. This one does nothing; the runner's shows progress and saves checkpoints."""

    def after_step(
        self, estimator: Estimator, step: int, total: int, loss: torch.Tensor | float, learning_rate: float
    ) -> None:
        """Act on the report that `step` of `total` steps are done.

        The estimator is between two steps, so `state_dict` and `score` may be called on it. May raise to end the run.
        """


class Estimator(Stateful, ABC):
    """Ranks the architectures of a space without training each of them.

    A subclass is registered by ``@register("name")``, has a frozen dataclass `Config` whose fields all have defaults
    (see `estimators.settings`), and never imports ground truth. It names in `state` what changes after `start`, and
    checkpoints follow from that. The score of an architecture must not depend on which others are scored with it, nor
    on their order.
    """

    Config: ClassVar[type]
    columns: ClassVar[tuple[str, ...]] = ("score",)
    """Names of the score columns; the first is the declared primary. Override `score_columns` when they vary."""
    trains: ClassVar[bool] = True
    """Whether `fit` uses the budget; a baseline that costs nothing does not."""
    deterministic: ClassVar[bool] = False
    """Whether the seed makes no difference (parameter count): one run is enough."""
    on_several_devices: ClassVar[bool] = False
    """Whether several processes (see `estimators.training.processes`) train the same as one, apart from rounding."""
    uses_truth: ClassVar[bool] = False
    """Only the noise ceiling: its Problem carries one ground-truth trial, and it is judged by the others."""
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Values of Config fields per preset, where they differ from the defaults; 'preset:space' for one space only."""
    space_settings: ClassVar[dict[str, dict[str, Any]]] = {}
    """Values of Config fields that the method's source gives for a space, whatever the preset."""
    scoring_settings: ClassVar[tuple[str, ...]] = ()
    """Config fields that `train` does not depend on: runs that differ in no other field may share one training."""
    role: ClassVar[str] = "estimator"
    """How reports treat it: 'estimator', 'baseline' (costs nothing), 'zero_cost', or 'ceiling'."""
    title: ClassVar[str] = ""
    source: ClassVar[str] = ""
    """Where the method was published."""

    def __init__(self, config: Any = None) -> None:
        self.config = config if config is not None else self.Config()
        self._problem: Problem | None = None

    @classmethod
    def configured(cls, preset: str, overrides: dict[str, Any] | None = None, *, space: str = "nasbench201") -> Self:
        """Return an estimator with the settings of a preset and a space, some of them overridden.

        Raises UnknownName for a setting that Config does not have.
        """
        names = [f.name for f in fields(cls.Config)]
        for name in overrides or {}:
            if name not in names:
                raise unknown(f"setting of {cls.__name__}", name, names)
        values = (
            cls.presets.get(preset, {}),
            cls.space_settings.get(space, {}),
            cls.presets.get(f"{preset}:{space}", {}),
        )
        return cls(cls.Config(**{k: v for part in (*values, overrides or {}) for k, v in part.items()}))

    @property
    def problem(self) -> Problem:
        """The problem of the present fit; raises NotFitted before `fit`."""
        if self._problem is None:
            raise NotFitted(f"{type(self).__name__} was asked before fit() or restore().")
        return self._problem

    def score_columns(self) -> tuple[str, ...]:
        """Return the names of the score columns with the present configuration, the primary first."""
        return self.columns

    def fit(self, problem: Problem, budget: Budget, monitor: Monitor | None = None) -> None:
        """Train on a problem from the start; afterwards `score` works."""
        self.start(problem)
        self.train(budget, monitor or Monitor())

    def restore(self, problem: Problem, state: dict[str, Any]) -> None:
        """Start from a state that `state_dict` returned: `train` continues from there, and `score` works."""
        self.start(problem)
        self.load_state_dict(state)

    def start(self, problem: Problem) -> None:
        """Build what depends on the problem, seeded by it. Extend this, calling super().start first."""
        self._problem = problem

    def train(self, budget: Budget, monitor: Monitor) -> None:
        """Train from the present state to the end of the budget, calling monitor.after_step after each step."""

    def networks(self) -> tuple[nn.Module, ...]:
        """Return the networks that train on mini-batches: with several processes their batch norms see whole ones."""
        return ()

    @abstractmethod
    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return every score column, each of shape (N,), finite, higher is better."""

    def parts(self, architectures: Sequence[Architecture]) -> dict[str, list[bool]]:
        """Return subsets of a pool that reports judge separately, by name: whether each architecture is a member."""
        return {}

    def cost(self) -> dict[str, float]:
        """Return what was used, as counts: train_images, score_images, supernet_parameters."""
        return {"train_images": 0, "score_images": 0, "supernet_parameters": 0}

    def diagnostics(self) -> dict[str, Any]:
        """Return figures about the method's own working, JSON-ready, for the record."""
        return {}
