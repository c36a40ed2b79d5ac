"""The linear probe of Pi-NAS (arXiv:2108.09671): linear classifiers on the frozen features of uniformly drawn paths."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from supertau.estimators.estimator import Diverged, Estimator, Monitor
from supertau.estimators.problem import Problem
from supertau.estimators.state import Stateful
from supertau.estimators.training.generators import numpy_stream
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.estimators.training.precision import Precision
from supertau.estimators.training.sampling import PathSampler
from supertau.estimators.training.scoring import PathScorer, Scoring
from supertau.search_spaces.supernet import Supernet

PASSES_PER_IMAGE = 1 / 3
"""What a step costs per image of its batch, in passes forward and backward: one path runs forward only."""


class LinearProbe(Stateful):
    """One linear classifier per learning rate, all trained on the same features: those of one uniform path per step.

    The backbone is not trained; its batch norms are in training mode, so only their running statistics move. Features
    are not normalised. The classifier that is best on held-out images becomes the supernet's.

    inputs: turns uint8 training images into the network's input. initial: generator of the initial weights.
    architectures: how many random ones decide between the learning rates, by their mean accuracy.
    """

    state = ("heads", "loop", "sampler", "accuracies", "images_scored")

    def __init__(
        self,
        problem: Problem,
        supernet: Supernet,
        inputs: Callable[[torch.Tensor], torch.Tensor],
        initial: torch.Generator,
        scoring: Scoring,
        *,
        batch_size: int,
        learning_rates: tuple[float, ...],
        architectures: int,
        label_smoothing: float,
        precision: Precision,
    ) -> None:
        self.problem, self.supernet, self.inputs = problem, supernet, inputs
        self.learning_rates, self.architectures, self.label_smoothing = learning_rates, architectures, label_smoothing
        self.scoring = replace(scoring, bn=scoring.bn[:1])
        shape = supernet.classifier.weight.shape
        weight = 0.01 * torch.randn(shape, generator=initial)  # authors: N(0, 0.01)
        self.heads = nn.ModuleList(copy.deepcopy(supernet.classifier) for _ in learning_rates)
        for parameter in self.heads.parameters():
            parameter.data.copy_(weight if parameter.shape == shape else torch.zeros(()))
        optimisation = Optimisation(
            batch_size, 1.0, 1.0, momentum=0.9, nesterov=False, weight_decay=0.0, clip=0.0,  # authors
            precision=precision,
        )  # fmt: skip
        groups = [
            {"params": list(head.parameters()), "scale": rate}
            for head, rate in zip(self.heads, learning_rates, strict=True)
        ]
        self.loop = TrainingLoop(
            groups, problem, self.objective, optimisation, passes_per_image=PASSES_PER_IMAGE, purpose="probe"
        )
        self.loop.schedule = self.rate
        self.sampler = PathSampler(problem.space, "space", numpy_stream(problem.seed, "probe"))
        self.accuracies: list[float | None] = []
        self.images_scored = 0

    @staticmethod
    def rate(step: int, total: int) -> float:
        """Return the factor of all learning rates: a tenth after 60% of the steps, a hundredth after 80%."""
        return 0.1 ** ((10 * step >= 6 * total) + (10 * step >= 8 * total))

    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of all candidates' cross-entropies, each of which moves its own candidate only.

        A candidate whose loss is no longer finite is left out: it has lost, and the others continue.
        """
        with torch.no_grad():
            features = self.supernet.features(self.inputs(images), self.sampler())
        each = [
            functional.cross_entropy(head(features), labels, label_smoothing=self.label_smoothing)
            for head in self.heads
        ]
        losses = torch.stack(each).double()
        return losses.where(self.problem.processes.mean(losses).isfinite(), 0).sum()

    def choose(self) -> None:
        """Make the candidate with the best mean accuracy over some random architectures the supernet's classifier."""
        scorer = PathScorer(self.supernet, self.problem, self.scoring)
        rng = numpy_stream(self.problem.seed, "subset")
        judged = [self.problem.space.sample(rng) for _ in range(self.architectures)]
        for head in self.heads:
            lost = not all(parameter.isfinite().all() for parameter in head.parameters())
            self.supernet.classifier.load_state_dict(head.state_dict())
            accuracy = None if lost else float(scorer.score(judged)[self.scoring.columns()[0]].mean())
            self.accuracies.append(accuracy)
        self.images_scored = scorer.images_scored
        best = max(range(len(self.heads)), key=lambda i: -math.inf if (a := self.accuracies[i]) is None else a)
        if self.accuracies[best] is None:
            raise Diverged(self.loop.step, min(self.learning_rates), math.nan)
        self.supernet.classifier.load_state_dict(self.heads[best].state_dict())

    def diagnostics(self) -> dict[str, Any]:
        """Return accuracy (percent, None for a diverged one) per learning rate, and the chosen rate."""
        by_rate = dict(zip(self.learning_rates, self.accuracies, strict=False))
        finite = {rate: accuracy for rate, accuracy in by_rate.items() if accuracy is not None}
        return {
            "probe_accuracies": {f"{rate:g}": accuracy for rate, accuracy in by_rate.items()},
            "probe_learning_rate": max(finite, key=lambda rate: finite[rate]) if finite else None,
        }


class LastStep(Monitor):
    """Calls a function after the very last step, before another monitor gets the report of that step."""

    def __init__(self, monitor: Monitor, then: Callable[[], None]) -> None:
        self.monitor, self.then = monitor, then

    def after_step(
        self, estimator: Estimator, step: int, total: int, loss: torch.Tensor | float, learning_rate: float
    ) -> None:
        if step == total:
            self.then()
        self.monitor.after_step(estimator, step, total, loss, learning_rate)
