"""Watches which GLOW blocks a gate of CLOSE assigns, and warns when one block serves nearly all edges."""

from __future__ import annotations

import math
from typing import Any

from supertau.estimators.state import Stateful
from supertau.estimators.training.generators import numpy_stream
from supertau.search_spaces.glow import CLOSENet
from supertau.search_spaces.space import Architecture, SearchSpace

PROBES = 200
"""Architectures whose assignment is described."""
COLLAPSE_SHARE, COLLAPSE_EPOCHS = 0.99, 5
"""The gate has collapsed when one block serves more than this share of all edges for so many epochs."""


class GateWatch(Stateful):
    """Counts the edges that each block serves in training, and describes the assignment of random architectures."""

    state = ("served", "epochs_collapsed", "collapsed_at")

    def __init__(self, supernet: CLOSENet, space: SearchSpace, blocks: int, seed: int) -> None:
        self.supernet, self.space = supernet, space
        self.served = [0] * blocks  # edges per block in the present epoch
        self.epochs_collapsed = 0
        self.collapsed_at: int | None = None
        rng = numpy_stream(seed, "probe")
        self.probes = [space.sample(rng) for _ in range(PROBES)]
        self.initial_norm = self.norm()

    def count(self, architecture: Architecture) -> None:
        """Count the blocks that served an architecture's edges in the step just made, if there was a choice."""
        if self.supernet.level > 1 and self.supernet.picks is not None:
            for block, exists in zip(self.supernet.picks, self._existing(architecture), strict=True):
                self.served[block] += exists

    def end_epoch(self, step: int) -> None:
        """Note the step at which the gate counts as collapsed, and start a new epoch."""
        collapsed = max(self.served) > COLLAPSE_SHARE * sum(self.served)
        self.epochs_collapsed = self.epochs_collapsed + 1 if collapsed else 0
        if self.epochs_collapsed >= COLLAPSE_EPOCHS and self.collapsed_at is None:
            self.collapsed_at = step
        self.served = [0] * len(self.served)

    def diagnostics(self) -> dict[str, Any]:
        """Return the assignment of PROBES random architectures, and warnings.

        usage: share of each active block per edge, over the architectures in which the edge has an operation.
        entropy: of those shares, in nats. gate_norm_ratio: present over initial length of the gate's parameters.
        collapsed_at: step at whose start one block had served nearly all edges of COLLAPSE_EPOCHS epochs.
        """
        usage = self.usage()
        warnings = [] if self.collapsed_at is None else ["in training one block came to serve nearly all edges"]
        if self.supernet.level > 1 and max(map(min, zip(*usage, strict=True))) > COLLAPSE_SHARE:
            warnings.append("one block serves nearly all edges when scored")
        return {
            "usage": usage,
            "entropy": [-sum(share * math.log(share) for share in shares if share) for shares in usage],
            "gate_norm_ratio": self.norm() / self.initial_norm if self.initial_norm else None,
            "collapsed_at": self.collapsed_at,
            "warnings": warnings,
        }

    def usage(self) -> list[list[float]]:
        """Return for each edge the share of each active block in the assignments of the probes."""
        level = self.supernet.level
        picks = self.supernet.gate.blocks(self.probes, level)
        counts = [[0] * level for _ in picks[0]]
        for architecture, blocks in zip(self.probes, picks, strict=True):
            for edge, (block, exists) in enumerate(zip(blocks, self._existing(architecture), strict=True)):
                counts[edge][block] += exists
        return [[count / max(1, sum(row)) for count in row] for row in counts]

    def norm(self) -> float:
        """Return the Euclidean length of the gate's parameters."""
        return math.sqrt(sum(p.detach().double().square().sum().item() for p in self.supernet.gate.parameters()))

    def _existing(self, architecture: Architecture) -> list[bool]:
        """Return for each edge whether it has an operation."""
        flow = [option is not None for graph in self.space.flow(architecture) for *_, option in graph.edges]
        return flow or [True] * self.space.chain
