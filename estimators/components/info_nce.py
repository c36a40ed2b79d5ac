"""InfoNCE (van den Oord et al. 2018), the contrastive loss of MoCo and Pi-NAS."""

from __future__ import annotations

import torch
from torch.nn import functional


def info_nce(queries: torch.Tensor, keys: torch.Tensor, queue: torch.Tensor | None, temperature: float) -> torch.Tensor:
    """Return the mean cross-entropy of telling each query's key from the keys of a queue, all of unit length.

    queries, keys: (B, E), row i of one belongs to row i of the other; queue: (K, E). Without a queue the cross-entropy
    has a single class and is 0 whatever the embeddings; what is left is its first term, the attraction -q.k / T.
    """
    positive = (queries * keys).sum(1, keepdim=True) / temperature
    if queue is None:
        return -positive.mean()
    logits = torch.cat([positive, queries @ queue.T / temperature], 1)
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))
