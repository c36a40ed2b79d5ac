"""Accuracy of sub-networks without a classifier: votes of nearest neighbours (Wu et al. 2018, arXiv:1805.01978)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from supertau.estimators.estimator import Floats
from supertau.estimators.problem import ImageSet
from supertau.estimators.training.batch_norm import BatchStatistics, evaluating, ruled
from supertau.estimators.training.scoring import PathScorer, even_batches
from supertau.search_spaces.space import Architecture

TEMPERATURE = 0.07
"""Of the votes (Wu et al. 2018)."""


def nearest_neighbours(
    scorer: PathScorer,
    train: ImageSet,
    architectures: Sequence[Architecture],
    *,
    neighbours: int,
    images: int,
    batch_size: int,
) -> Floats:
    """Return the accuracy (percent) on the scorer's images of a vote of the nearest training images, (N,).

    Cosine similarity s of the supernet's features, votes weighted by exp(s / T), batch statistics. images: how many
    training images vote, not distorted; at most all of them are used, and at most that many neighbours.
    """
    supernet, rule, bank_size = scorer.supernet, BatchStatistics(), min(images, len(train))
    batches, labels = even_batches(train, bank_size, batch_size)
    classes, count = torch.cat(labels), sum(map(len, scorer.labels))
    accuracies = np.zeros(len(architectures))

    def features(batch: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        rule.images = len(batch)
        return functional.normalize(supernet.features(batch, architecture))

    with torch.inference_mode(), evaluating(supernet), ruled(supernet, rule):
        for row, architecture in enumerate(architectures):
            bank = torch.cat([features(batch, architecture) for batch in batches])
            for batch, true in zip(scorer.batches, scorer.labels, strict=True):
                similar, rows = (features(batch, architecture) @ bank.T).topk(min(neighbours, bank_size))
                votes = similar.new_zeros(len(batch), train.classes)
                votes.scatter_add_(1, classes[rows], (similar / TEMPERATURE).exp())
                accuracies[row] += 100 / count * int((votes.argmax(1) == true).sum())
    scorer.images_scored += (bank_size + count) * len(architectures)
    return accuracies
