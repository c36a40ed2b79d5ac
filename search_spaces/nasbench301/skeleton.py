"""The skeleton of networks of DARTS cells: which cells follow each other, how wide they are, and what they cost."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from supertau.search_spaces.architecture import NetworkConfig
from supertau.search_spaces.nasbench301.genotype import (
    DIL3,
    DIL5,
    KINDS,
    NODES,
    NORMAL,
    OPERATIONS,
    REDUCE,
    SEP3,
    SEP5,
    SKIP,
)


class Layer(NamedTuple):
    """One cell of a network.

    kind: NORMAL or REDUCE. before, last: channels of its two inputs. width: of its nodes. side: of its second input,
    in pixels; halved: whether the first input is from before a reduction and has twice that.
    """

    kind: int
    before: int
    last: int
    width: int
    side: int
    halved: bool

    @property
    def side_of_nodes(self) -> int:
        """Side of its nodes, in pixels: a reduction cell halves it, rounding up."""
        return (self.side + 1) // 2 if self.kind == REDUCE else self.side


@lru_cache
def layers(config: NetworkConfig) -> tuple[Layer, ...]:
    """Return the cells of a network, 3 * cells + 2 in all: `cells` normal ones, a reduction, and so on.

    Of L cells those at L // 3 and 2 L // 3 are reductions, which double the width.
    """
    kinds = [NORMAL] * config.cells
    kinds = [*kinds, REDUCE, *kinds, REDUCE, *kinds]
    before = last = 3 * config.channels
    width, side, halved = config.channels, config.image_size, False
    made: list[Layer] = []
    for kind in kinds:
        width *= 2 if kind == REDUCE else 1
        made.append(Layer(kind, before, last, width, side, halved))
        before, last, side, halved = last, NODES * width, made[-1].side_of_nodes, kind == REDUCE
    return tuple(made)


@lru_cache
def costs(config: NetworkConfig) -> tuple[list[int], list[list[list[list[int]]]]]:
    """Return [parameters, MACs] of what all networks have, and of operations: [kind][from a cell input][operation]."""
    stem = config.image_channels * 9 * 3 * config.channels
    fixed = np.array([stem + 2 * 3 * config.channels, stem * config.image_size**2])
    operations = np.zeros((len(KINDS), 2, len(OPERATIONS), 2), dtype=np.int64)
    for layer in layers(config):
        width, pixels = layer.width, layer.side_of_nodes**2
        projections = (layer.before + layer.last) * width
        fixed += projections + 2 * 2 * width, projections * layer.side**2
        for option, kernel, repeats in ((SEP3, 3, 2), (SEP5, 5, 2), (DIL3, 3, 1), (DIL5, 5, 1)):
            weights = repeats * (kernel**2 * width + width**2)
            operations[layer.kind, :, option] += weights + repeats * 2 * width, weights * pixels
        if layer.kind == REDUCE:
            operations[layer.kind, 1, SKIP] += width**2 + 2 * width, width**2 * pixels
    weights = NODES * width * config.classes
    fixed += weights + config.classes, weights
    return fixed.tolist(), operations.tolist()
