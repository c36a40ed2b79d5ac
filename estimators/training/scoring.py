"""Scoring sub-networks of a trained supernet on held-out images, with the batch-norm statistics as an explicit mode."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from supertau.estimators.estimator import Floats
from supertau.estimators.problem import ImageSet, Problem
from supertau.estimators.settings import Count, Settings
from supertau.estimators.state import Stateful
from supertau.estimators.training.augmentation import normalise
from supertau.estimators.training.batch_norm import BatchStatistics, Inherited, Recalibrated, Rule, evaluating, ruled
from supertau.estimators.training.precision import Precision, autocast
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import Architecture
from supertau.search_spaces.supernet import Supernet

BNMode = Literal["recalibrated", "batch", "inherited"]
"""Where batch norm takes its statistics from when a sub-network is scored.

recalibrated: reset, then the cumulative average over fixed training images run through this very sub-network.
batch: the statistics of each validation batch. inherited: what supernet training left, mixed over all sub-networks;
offered only to show what it costs (tau about .05 in the published logs of AngleNAS, C=16, N=5; .29 by loss and .43 by
accuracy on a supernet of C=8, N=1 at 16x16, where the other modes reach .46).
"""
BN_MODES: tuple[BNMode, ...] = get_args(BNMode)

GROUP = 32
"""Most sub-networks that run together. The more there are, the more of the first cell they share."""
STATES = 16
"""Memory of a sub-network in a group, in outputs of the stem: an upper estimate (4 to 16 were measured)."""


@dataclass(frozen=True)
class Scoring(Settings):
    """How sub-networks are scored.

    bn: batch-norm modes, each giving the columns accuracy@mode and neg_loss@mode; the first is the primary.
    images: validation images used, None for all; batch_size: of validation images (it matters in mode batch).
    calibration_images, calibration_batch: training images used by mode recalibrated, unaugmented. precision: of
    convolutions and products.
    """

    bn: tuple[BNMode, ...]
    batch_size: Count
    images: int | None
    calibration_images: int
    calibration_batch: Count
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bn:
            raise SupertauError(f"scoring needs at least one batch-norm mode of: {', '.join(BN_MODES)}.")

    def columns(self) -> tuple[str, ...]:
        """Return the names of the score columns."""
        return tuple(f"{kind}@{mode}" for mode in self.bn for kind in ("accuracy", "neg_loss"))


def even_batches(images: ImageSet, count: int, batch_size: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the first `count` images, normalised, and labels, in batches of nearly equal size.

    A short last batch would have statistics of its own kind in mode batch.
    """
    parts = -(-count // batch_size)
    pixels = torch.tensor_split(normalise(images.images[:count], images.mean, images.std), parts)
    return [p.contiguous(memory_format=torch.channels_last) for p in pixels], list(
        torch.tensor_split(images.labels[:count], parts)
    )


class PathScorer(Stateful):
    """Scores sub-networks of one supernet; the same images and, per mode, the same statistics rule for all.

    With several processes each scores some of the sub-networks, and all receive all scores. How many sub-networks run
    together follows from `Problem.scoring_memory`. images_scored: images run forward so far, calibration included.
    """

    state = ("images_scored",)

    def __init__(self, supernet: Supernet, problem: Problem, scoring: Scoring) -> None:
        count = len(problem.validation) if scoring.images is None else scoring.images
        needed = [("scoring images", count, len(problem.validation))]
        if "recalibrated" in scoring.bn:
            needed.append(("calibration_images", scoring.calibration_images, len(problem.train)))
        for name, wanted, available in needed:
            if not 0 < wanted <= available:
                raise SupertauError(f"{name}: {wanted} asked for, {available} available.")
        self.supernet, self.scoring, self.images_scored, self.processes = supernet, scoring, 0, problem.processes
        self.order = problem.space.order
        self.batches, self.labels = even_batches(problem.validation, count, scoring.batch_size)
        self.calibration: list[torch.Tensor] = []
        if "recalibrated" in scoring.bn:
            self.calibration, _ = even_batches(problem.train, scoring.calibration_images, scoring.calibration_batch)
        self._count = count
        self._images_each = count * len(scoring.bn) + scoring.calibration_images * scoring.bn.count("recalibrated")
        largest = max(len(images) for images in (*self.batches, *self.calibration))
        stem = largest * problem.network.channels * problem.network.image_size**2 * 4
        self.group = max(1, min(GROUP, problem.scoring_memory * 10**6 // (STATES * stem)))

    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return accuracy (percent) and negative mean cross-entropy per mode, each of shape (N,).

        Architectures with the same network run once; neighbours in the space's order run together.
        """
        first: dict[Hashable, int] = {}
        same = [first.setdefault(self.supernet.signature(a), row) for row, a in enumerate(architectures)]
        order = sorted(first.values(), key=lambda row: self.order(architectures[row]))
        device = self.batches[0].device
        columns = {name: torch.zeros(len(architectures), device=device) for name in self.scoring.columns()}
        starts = range(0, len(order), self.group)
        with torch.inference_mode(), evaluating(self.supernet), autocast(device, self.scoring.precision):
            for start in starts[self.processes.index :: self.processes.size]:
                rows = order[start : start + self.group]
                group = [architectures[row] for row in rows]
                for mode in self.scoring.bn:
                    accuracy, neg_loss = self._score_group(group, mode)
                    columns[f"accuracy@{mode}"][rows] = accuracy
                    columns[f"neg_loss@{mode}"][rows] = neg_loss
        self.images_scored += len(architectures) * self._images_each
        self.processes.sum(columns.values())  # each row is zero on all processes but the one that scored it
        return {name: np.asarray(values[same].cpu().double().numpy()) for name, values in columns.items()}

    def _score_group(self, group: Sequence[Architecture], mode: str) -> tuple[torch.Tensor, torch.Tensor]:
        rule: Rule
        if mode == "recalibrated":
            rule = Recalibrated()
            with ruled(self.supernet, rule):
                for images in self.calibration:
                    rule.next_batch(len(images), collecting=True)
                    self.supernet.forward_many(images, group)
        else:
            rule = Inherited() if mode == "inherited" else BatchStatistics()
        accuracy = torch.zeros(len(group), device=self.batches[0].device)
        neg_loss = torch.zeros_like(accuracy)
        with ruled(self.supernet, rule):
            for images, labels in zip(self.batches, self.labels, strict=True):
                if isinstance(rule, Recalibrated):
                    rule.next_batch(len(images), collecting=False)
                else:
                    rule.images = len(images)
                logits = self.supernet.forward_many(images, group)
                chosen = functional.log_softmax(logits, 2).gather(2, labels.expand(len(group), -1)[..., None])
                neg_loss += chosen.sum((1, 2))
                accuracy += (logits.argmax(2) == labels).sum(1)
        return accuracy.mul_(100 / self._count), neg_loss.div_(self._count)
