"""Scoring sub-networks of a trained supernet on held-out images, with the batch-norm statistics as an explicit mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from estimators.augment import normalise
from estimators.estimator import Floats
from estimators.problem import ImageSet, Problem
from search_spaces.errors import SupertauError, unknown
from search_spaces.space import Architecture
from search_spaces.supernet import Supernet

BNMode = Literal["recalibrated", "batch", "inherited"]
"""Where batch norm takes its statistics from when a sub-network is scored.

recalibrated: reset, then the cumulative average over fixed training images run through this very sub-network.
batch: the statistics of each validation batch. inherited: what supernet training left, mixed over all sub-networks;
offered only to show what it costs (tau about .05 in the published logs of AngleNAS, C=16, N=5; .29 by loss and .43 by
accuracy on our `standard` supernet, C=8, N=1, where the other modes reach .46).
"""
BN_MODES: tuple[str, ...] = get_args(BNMode)


@dataclass(frozen=True)
class Scoring:
    """How sub-networks are scored.

    bn: batch-norm modes, each giving the columns accuracy@mode and neg_loss@mode; the first is the primary.
    images: validation images used, None for all; batch_size: of validation images (it matters in mode batch).
    calibration_images, calibration_batch: training images used by mode recalibrated, unaugmented.
    """

    bn: tuple[str, ...]
    batch_size: int
    images: int | None
    calibration_images: int
    calibration_batch: int

    def __post_init__(self) -> None:
        if not self.bn:
            raise SupertauError(f"scoring needs at least one batch-norm mode of: {', '.join(BN_MODES)}.")
        for name in ("batch_size", "calibration_batch"):
            if getattr(self, name) < 1:
                raise SupertauError(f"scoring {name} must be at least 1, got {getattr(self, name)}.")
        for mode in self.bn:
            if mode not in BN_MODES:
                raise unknown("batch-norm mode", mode, BN_MODES)

    def columns(self) -> tuple[str, ...]:
        """Return the names of the score columns."""
        return tuple(f"{kind}@{mode}" for mode in self.bn for kind in ("accuracy", "neg_loss"))


def batch_norms(modules: Iterator[nn.Module]) -> list[nn.BatchNorm2d]:
    """Return the batch norms among modules."""
    return [module for module in modules if isinstance(module, nn.BatchNorm2d)]


@contextmanager
def borrowed_batch_norms(supernet: nn.Module) -> Iterator[None]:
    """Put every batch norm back afterwards as it was: flags, momentum and running statistics.

    Scoring must leave no trace: it also happens in the middle of training.
    """
    norms = batch_norms(supernet.modules())
    was_training = supernet.training
    held = [(n, n.training, n.track_running_stats, n.momentum, [b.clone() for b in n.buffers()]) for n in norms]
    supernet.eval()
    try:
        yield
    finally:
        supernet.train(was_training)
        for norm, training, track, momentum, buffers in held:
            norm.training, norm.track_running_stats, norm.momentum = training, track, momentum
            for buffer, value in zip(norm.buffers(), buffers, strict=True):
                buffer.copy_(value)


@torch.no_grad()
def recalibrate(supernet: Supernet, architecture: Architecture, batches: Sequence[torch.Tensor]) -> None:
    """Reset a sub-network's batch norms and set them to the plain average of the batches' means and variances.

    An exponential average would keep 0.9^K of the reset values after K batches.
    """
    norms = batch_norms(supernet.path_modules(architecture))
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training, norm.track_running_stats = None, True, True
    for images in batches:
        supernet(images, architecture)
    for norm in norms:
        norm.training = False


def even_batches(images: ImageSet, count: int, batch_size: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the first `count` images, normalised, and labels, in batches of nearly equal size.

    A short last batch would have statistics of its own kind in mode batch.
    """
    parts = -(-count // batch_size)
    pixels = torch.tensor_split(normalise(images.images[:count], images.mean, images.std), parts)
    return [p.contiguous(memory_format=torch.channels_last) for p in pixels], list(
        torch.tensor_split(images.labels[:count], parts)
    )


class PathScorer:
    """Scores sub-networks of one supernet; the same images and, per mode, the same statistics rule for all."""

    def __init__(self, supernet: Supernet, problem: Problem, scoring: Scoring) -> None:
        count = len(problem.validation) if scoring.images is None else scoring.images
        needed = [("scoring images", count, len(problem.validation))]
        if "recalibrated" in scoring.bn:
            needed.append(("calibration_images", scoring.calibration_images, len(problem.train)))
        for name, wanted, held in needed:
            if not 0 < wanted <= held:
                raise SupertauError(f"{name}: {wanted} asked for, {held} available.")
        self.supernet, self.scoring, self.images_scored = supernet, scoring, 0
        self.batches, self.labels = even_batches(problem.validation, count, scoring.batch_size)
        self.calibration: list[torch.Tensor] = []
        if "recalibrated" in scoring.bn:
            self.calibration, _ = even_batches(problem.train, scoring.calibration_images, scoring.calibration_batch)
        self._count = count

    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return accuracy (percent) and negative mean cross-entropy per mode, each of shape (N,)."""
        device = self.batches[0].device
        columns = {name: torch.zeros(len(architectures), device=device) for name in self.scoring.columns()}
        with torch.inference_mode(), borrowed_batch_norms(self.supernet):
            # Inherited first: recalibration overwrites the running statistics that it reads.
            if "inherited" in self.scoring.bn:
                self._mode(architectures, "inherited", columns)
            if "batch" in self.scoring.bn:
                for norm in batch_norms(self.supernet.modules()):
                    norm.training, norm.track_running_stats = True, False
                self._mode(architectures, "batch", columns)
            if "recalibrated" in self.scoring.bn:
                for norm in batch_norms(self.supernet.modules()):
                    norm.training, norm.track_running_stats = False, True
                self._mode(architectures, "recalibrated", columns)
        return {name: np.asarray(values.cpu().double().numpy()) for name, values in columns.items()}

    def _mode(self, architectures: Sequence[Architecture], mode: str, columns: dict[str, torch.Tensor]) -> None:
        accuracy, neg_loss = columns[f"accuracy@{mode}"], columns[f"neg_loss@{mode}"]
        for row, architecture in enumerate(architectures):
            if mode == "recalibrated":
                recalibrate(self.supernet, architecture, self.calibration)
                self.images_scored += self.scoring.calibration_images
            for images, labels in zip(self.batches, self.labels, strict=True):
                logits = self.supernet(images, architecture)
                neg_loss[row] -= functional.cross_entropy(logits, labels, reduction="sum")
                accuracy[row] += (logits.argmax(1) == labels).sum()
            self.images_scored += self._count
        accuracy.mul_(100 / self._count)
        neg_loss.div_(self._count)
