"""The one training loop: an objective and a schedule are handed to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from supertau.estimators.estimator import Diverged, Monitor
from supertau.estimators.state import Stateful
from supertau.estimators.training.batch_norm import whole_batches
from supertau.estimators.training.generators import torch_stream
from supertau.estimators.training.precision import Precision, autocast, loss_scaler
from supertau.search_spaces.errors import SupertauError

if TYPE_CHECKING:
    from supertau.estimators.estimator import Estimator
    from supertau.estimators.problem import Problem

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From raw images (B, C, S, S) uint8 and labels (B,) to a scalar loss.

With several processes the images are the whole mini-batch and the labels this process's share (B / processes,): the
objective augments all images, so that every process draws the same random numbers, and then takes its share.
"""

CHECK_EVERY = 50
"""Steps between checks that the loss is finite, on a device that has to be waited for."""


@dataclass(frozen=True)
class Optimisation:
    """Stochastic gradient descent with a cosine schedule.

    clip: bound of the global L2 norm of the gradient, 0 for none. accumulate: steps whose gradients are summed before
    the optimiser moves; the clip then holds for their mean. skip_zero_gradients: leave parameters whose gradient is
    zero everywhere out of the update, as those that have none. fused: whether the update is one call, which is faster
    and rounds otherwise. precision: of the objective's convolutions and products.
    """

    batch_size: int
    learning_rate: float
    final_learning_rate: float
    momentum: float
    nesterov: bool
    weight_decay: float
    clip: float
    accumulate: int = 1
    skip_zero_gradients: bool = False
    fused: bool = True
    precision: Precision = "float32"

    def rate(self, step: int, total: int) -> float:
        """Return the learning rate of a step in range(total): cosine from the first value to the final one."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, total)))
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * cosine


class Batches(Stateful):
    """Endless mini-batches of row numbers: a new seeded permutation each epoch, the incomplete last batch left out."""

    state = ("order", "position", "generator")

    def __init__(self, rows: int, batch_size: int, generator: torch.Generator) -> None:
        if batch_size > rows:
            raise SupertauError(
                f"a batch of {batch_size} does not fit into {rows} training images: choose a smaller batch_size."
            )
        self.rows, self.batch_size, self.generator = rows, batch_size, generator
        self.order = torch.empty(0, dtype=torch.int64)
        self.position = 0

    def next(self) -> torch.Tensor:
        """Return the next (batch_size,) row numbers."""
        if self.position + self.batch_size > len(self.order):
            self.order = torch.randperm(self.rows, generator=self.generator)
            self.position = 0
        batch = self.order[self.position : self.position + self.batch_size]
        self.position += self.batch_size
        return batch


class TrainingLoop(Stateful):
    """Draws batches, runs an objective, steps the optimiser, reports.

    Only parameters that the objective used receive a gradient; the others have none (not zero), so neither weight
    decay nor momentum moves them. With several processes gradients and loss are means over the processes, and batch
    norms use the whole mini-batch: all processes take the step that one would.

    parameters: what SGD updates, as torch.optim.SGD takes it: parameters, or groups whose option `scale` multiplies
    the learning rate. companions: optimisers of other parameters, which step together with SGD at their own learning
    rates; the clip covers their gradients too. passes_per_image: what a step costs per image of its batch, in passes
    forward and backward (a forward alone is a third). before_step: called with step and total before each step, in a
    consistent state. purpose: name of the random stream that orders the images.
    """

    state = ("step", "batches", "optimiser", "scaler")

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        problem: Problem,
        objective: Objective,
        optimisation: Optimisation,
        *,
        companions: Sequence[torch.optim.Optimizer] = (),
        passes_per_image: float = 1.0,
        before_step: Callable[[int, int], None] | None = None,
        purpose: str = "order",
    ) -> None:
        self.problem, self.objective, self.optimisation = problem, objective, optimisation
        self.passes_per_image, self.before_step = passes_per_image, before_step
        problem.processes.require_divides(optimisation.batch_size)
        self.schedule: Callable[[int, int], float] = optimisation.rate
        self.batches = Batches(len(problem.train), optimisation.batch_size, torch_stream(problem.seed, purpose))
        self.optimiser = torch.optim.SGD(
            parameters,
            lr=optimisation.learning_rate,
            momentum=optimisation.momentum,
            nesterov=optimisation.nesterov,
            weight_decay=optimisation.weight_decay,
            fused=self.optimisation.fused,
            foreach=not self.optimisation.fused,
        )
        self.companions = list(companions)
        self.scaler = loss_scaler(problem.device, optimisation.precision)
        self.step = 0

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All parameters that a step updates; a method may exchange the optimiser's during training."""
        optimisers = (self.optimiser, *self.companions)
        return [p for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]]

    @property
    def images_seen(self) -> int:
        """Training images run forward and backward so far."""
        return round(self.step * self.optimisation.batch_size * self.passes_per_image)

    def steps(self, passes: int) -> int:
        """Return how many steps fit into a number of passes."""
        return int(passes / (self.optimisation.batch_size * self.passes_per_image))

    def run(
        self,
        estimator: Estimator | None,
        total: int,
        monitor: Monitor | None = None,
        *,
        before: int = 0,
        overall: int | None = None,
    ) -> None:
        """Train from the present step to `total`; raise Diverged when the loss is not finite.

        estimator, monitor: whose training this is and what it reports to; neither for a network by itself. before,
        overall: steps of earlier loops and of all loops, for the report when this is one of several.
        """
        images, labels, processes = self.problem.train.images, self.problem.train.labels, self.problem.processes
        networks = estimator.networks() if estimator is not None and processes.size > 1 else ()
        check_each = images.device.type == "cpu"
        while self.step < total:
            if self.before_step is not None:
                self.before_step(self.step, total)
            rate = self.schedule(self.step, total)
            for group in self.optimiser.param_groups:
                group["lr"] = rate * group.get("scale", 1.0)
            rows = self.batches.next().to(images.device, non_blocking=True)
            if self.step % self.optimisation.accumulate == 0:
                for optimiser in (self.optimiser, *self.companions):
                    optimiser.zero_grad(set_to_none=True)
            with whole_batches(networks, processes), autocast(images.device, self.optimisation.precision):
                try:
                    loss = self.objective(images[rows], labels[processes.share(rows)])
                except ValueError as error:
                    if "more than 1 value per channel" not in str(error):
                        raise
                    raise SupertauError(
                        f"a batch of {len(rows)} image(s) of {images.shape[-1]}x{images.shape[-1]} pixels cannot be "
                        "normalised: some layer sees one value per channel. Raise batch_size or --image-size."
                    ) from error
            self.scaler.scale(loss).backward()
            if processes.size > 1:
                # A sum of earlier steps' gradients is the same on all processes, so their mean leaves it as it is.
                loss = loss.detach()
                processes.average([loss, *(p.grad for p in self.parameters if p.grad is not None)])
            self.step += 1
            if self.step % self.optimisation.accumulate == 0:
                self._update()
            if check_each or self.step % CHECK_EVERY == 0 or self.step == total:
                value = loss.item()
                if not math.isfinite(value):
                    raise Diverged(before + self.step, rate, value)
            if monitor is not None:
                monitor.after_step(
                    cast("Estimator", estimator), before + self.step, overall or total, loss.detach(), rate
                )
        processes.require_equal(self.parameters)

    def _update(self) -> None:
        parameters, half = self.parameters, self.scaler.is_enabled()
        optimisers = (self.optimiser, *self.companions)
        for optimiser in optimisers:
            self.scaler.unscale_(optimiser)
        if self.optimisation.skip_zero_gradients:
            for parameter in parameters:
                if parameter.grad is not None and not parameter.grad.any():
                    parameter.grad = None
        bound = self.optimisation.clip * self.optimisation.accumulate or math.inf
        if half or bound < math.inf:
            used = [p for p in parameters if p.grad is not None]
            norm = torch.nn.utils.clip_grad_norm_(used, bound, foreach=True)
        if not half or norm.isfinite():  # an overflow in one optimiser's gradients shows in the norm, and stops all
            self._begin_momentum()
            for optimiser in optimisers:
                optimiser.step()
        self.scaler.update()

    def _begin_momentum(self) -> None:
        """Give parameters with their first gradient a momentum of zero, without which the fused update fails.

        The effect is that of torch's other updates: momentum begins as the first gradient.
        """
        for group in self.optimiser.param_groups:
            for parameter in group["params"] if group["momentum"] else ():
                if parameter.grad is not None and "momentum_buffer" not in self.optimiser.state[parameter]:
                    self.optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def restart_optimiser(self) -> None:
        """Forget the momentum of everything that is updated."""
        for optimiser in (self.optimiser, *self.companions):
            optimiser.state.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return step, order of batches, optimisers and a half-summed gradient (the caller stores the parameters)."""
        halfway = self.step % self.optimisation.accumulate > 0
        return {
            **super().state_dict(),
            "companions": [optimiser.state_dict() for optimiser in self.companions],
            "gradients": [p.grad for p in self.parameters] if halfway else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for optimiser, stored in zip(self.companions, state["companions"], strict=True):
            optimiser.load_state_dict(stored)
        if state["gradients"]:
            for parameter, gradient in zip(self.parameters, state["gradients"], strict=True):
                parameter.grad = gradient
