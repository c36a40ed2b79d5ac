"""The one training loop: an objective and a schedule are handed to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from estimators.estimator import Diverged, Monitor
from estimators.generators import torch_stream
from search_spaces.errors import SupertauError

if TYPE_CHECKING:
    from estimators.estimator import Estimator
    from estimators.problem import Problem

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From raw images (B, C, S, S) uint8 and labels (B,) to a scalar loss."""

CHECK_EVERY = 50
"""Steps between looks at the loss on a device where looking means waiting for it."""


@dataclass(frozen=True)
class Optimisation:
    """Stochastic gradient descent, cosine schedule; clip bounds the global L2 norm of the gradient, 0 for none."""

    batch_size: int
    learning_rate: float
    final_learning_rate: float
    momentum: float
    nesterov: bool
    weight_decay: float
    clip: float

    def rate(self, step: int, total: int) -> float:
        """Return the learning rate of a step in range(total): cosine from the first value to the final one."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, total)))
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * cosine


class Batches:
    """Endless mini-batches of row numbers: a new seeded permutation each epoch, the incomplete last batch left out."""

    def __init__(self, rows: int, batch_size: int, generator: torch.Generator) -> None:
        if batch_size > rows:
            raise SupertauError(
                f"a batch of {batch_size} does not fit into {rows} training images: choose a smaller batch_size."
            )
        self.rows, self.batch_size, self.generator = rows, batch_size, generator
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def next(self) -> torch.Tensor:
        """Return the next (batch_size,) row numbers."""
        if self._position + self.batch_size > len(self._order):
            self._order = torch.randperm(self.rows, generator=self.generator)
            self._position = 0
        batch = self._order[self._position : self._position + self.batch_size]
        self._position += self.batch_size
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the position inside the present epoch and the generator's state."""
        return {"order": self._order, "position": self._position, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._order, self._position = state["order"], state["position"]
        self.generator.set_state(state["generator"])


class TrainingLoop:
    """Draws batches, runs an objective, steps the optimiser, reports.

    Only parameters that the objective used receive a gradient; the others have none (not zero), so neither weight
    decay nor momentum moves them.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        problem: Problem,
        objective: Objective,
        optimisation: Optimisation,
    ) -> None:
        self.problem, self.objective, self.optimisation = problem, objective, optimisation
        self.parameters = list(parameters)
        self.batches = Batches(len(problem.train), optimisation.batch_size, torch_stream(problem.seed, "order"))
        self.optimiser = torch.optim.SGD(
            self.parameters,
            lr=optimisation.learning_rate,
            momentum=optimisation.momentum,
            nesterov=optimisation.nesterov,
            weight_decay=optimisation.weight_decay,
            foreach=True,
        )
        self.step = 0

    @property
    def images_seen(self) -> int:
        """Training images run forward and backward so far."""
        return self.step * self.optimisation.batch_size

    def run(self, estimator: Estimator, total: int, monitor: Monitor) -> None:
        """Train from the present step to `total`; raise Diverged when the loss is not finite."""
        images, labels = self.problem.train.images, self.problem.train.labels
        watch_each = images.device.type == "cpu"
        while self.step < total:
            rate = self.optimisation.rate(self.step, total)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            rows = self.batches.next().to(images.device, non_blocking=True)
            loss = self.objective(images[rows], labels[rows])
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if self.optimisation.clip:
                used = [p for p in self.parameters if p.grad is not None]
                torch.nn.utils.clip_grad_norm_(used, self.optimisation.clip, foreach=True)
            self.optimiser.step()
            self.step += 1
            if watch_each or self.step % CHECK_EVERY == 0 or self.step == total:
                value = loss.item()
                if not math.isfinite(value):
                    raise Diverged(self.step, rate, value)
            monitor.after_step(estimator, self.step, total, loss.detach(), rate)

    def state_dict(self) -> dict[str, Any]:
        """Return step, order of batches and optimiser state (the parameters belong to the caller)."""
        return {"step": self.step, "batches": self.batches.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.step = state["step"]
        self.batches.load_state_dict(state["batches"])
        self.optimiser.load_state_dict(state["optimiser"])
