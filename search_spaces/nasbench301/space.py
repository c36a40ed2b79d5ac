"""DARTS cells (Liu et al., ICLR 2019) as in NAS-Bench-301: two cells of four nodes, seven operations, 10^18 in all."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from supertau.search_spaces.architecture import Architecture, Cost, FlowGraph, NetworkConfig
from supertau.search_spaces.nasbench301 import forms, genotype
from supertau.search_spaces.nasbench301.genotype import (
    CHOICES,
    INPUTS,
    NODES,
    OPERATIONS,
    PAIRS,
    SEP3,
    Cell,
    decoded,
    encoded,
)
from supertau.search_spaces.nasbench301.skeleton import costs
from supertau.search_spaces.nasbench301.truth import load
from supertau.search_spaces.space import SearchSpace
from supertau.search_spaces.truth import GroundTruth, Surrogate

if TYPE_CHECKING:  # these import torch, which only commands that train should do
    from torch import nn

    from supertau.search_spaces.nasbench301.network import DARTSSupernet
    from supertau.search_spaces.supernet import MakeSharing

PREDECESSORS = INPUTS + NODES - 1
"""Nodes that may be a predecessor; the tokens of operations come after theirs."""


@lru_cache(maxsize=2**10)
def _orders(sources: tuple[tuple[int, int], ...]) -> tuple[tuple[int, ...], ...]:
    """Return the orders of a cell's nodes in which none comes before a predecessor, from each node's predecessors."""
    return tuple(
        order
        for order in itertools.permutations(range(NODES))
        if all(
            source < INPUTS or order.index(source - INPUTS) < order.index(node)
            for node, pair in enumerate(sources)
            for source in pair
        )
    )


def orders(cell: Cell) -> tuple[tuple[int, ...], ...]:
    """Return the orders, from 1 to 24, in which the nodes of a cell can be written."""
    return _orders(tuple((lower, higher) for (lower, _), (higher, _) in cell))


def reordered(cell: Cell, order: Sequence[int]) -> Cell:
    """Return a cell with its nodes written in another order."""
    places = [*range(INPUTS), *(INPUTS + order.index(node) for node in range(NODES))]
    nodes = []
    for node in order:
        one, two = sorted((places[source], option) for source, option in cell[node])
        nodes.append((one, two))
    return tuple(nodes)


@lru_cache(maxsize=2**16)
def _least(cell: Cell) -> Cell:
    return min(reordered(cell, order) for order in orders(cell))


class DARTS(SearchSpace):
    """The space; `supertau.search_spaces.nasbench301.genotype` says what the 24 integers of an architecture mean."""

    name = "nasbench301"
    title = "DARTS cells"
    choices = CHOICES
    # The networks behind NAS-Bench-301 have 32 channels and 8 cells.
    benchmark = NetworkConfig(channels=32, cells=2)
    truths = ("micro",)
    files = ("cifar10",)
    vocabulary = PREDECESSORS + len(OPERATIONS)
    tokens_per_step = 2
    operations = len(OPERATIONS)

    def format(self, architecture: Architecture) -> str:
        """Return the text of nasbench301: ``Genotype(normal=[('sep_conv_3x3', 0), ...], ...)``."""
        self.check(architecture)
        return genotype.to_genotype(architecture)

    def parse(self, text: str) -> Architecture:
        """Return the encoding of any of the forms of `supertau.search_spaces.nasbench301.forms`."""
        return forms.parse(text)

    def suspicion(self, texts: Sequence[str], wrong: Mapping[int, str]) -> str:
        """Name operation numbers that are shifted by one, with which most other rows would be read as other cells."""
        shifted = forms.shifted([texts[row] for row in wrong])
        if not shifted:
            return ""
        return (
            f"{shifted:,} of the {len(texts):,} rows are cells only if 'none' is operation number 0 and every other "
            "number is one higher, as in DARTS' own code. With this off-by-one the other rows would be read as other "
            "cells. Subtract 1 from every operation number, or write their names."
        )

    def canonical(self, architecture: Architecture) -> str:
        """Return the digits of the least encoding that isomorphic architectures share.

        Two are isomorphic when each cell of one is the other's with its nodes in another order: their networks differ
        by a permutation of the channels of cell outputs only. The two inputs of a cell are not interchangeable, and
        nothing is simplified: a skip from a node is not that node.
        """
        self.check(architecture)
        return "".join(map(str, encoded([_least(cell) for cell in decoded(architecture)])))

    def is_connected(self, architecture: Architecture) -> bool:
        """Return True: every node has two operations, none of which is zero, on what comes from the input."""
        return True

    def has_live_convolution(self, architecture: Architecture) -> bool:
        """Return whether either cell has a separable or dilated convolution: all nodes lead to the output.

        The convolutions of projections and of skips with stride 2 do not count.
        """
        return any(option >= SEP3 for cell in decoded(architecture) for node in cell for _, option in node)

    # --- variation --------------------------------------------------------------------------------------------------
    def disjoint_pair(self, rng: np.random.Generator) -> tuple[Architecture, Architecture]:
        """Return two architectures that have no operation of an edge in common."""
        one = self.sample(rng)
        return one, self.disjoint_partner(one, rng)

    def disjoint_partner(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return an architecture drawn uniformly, except that on edges of both it has one of the six other operations.

        An edge is a cell, a node and a predecessor of it.
        """
        cells = []
        for cell in decoded(architecture):
            nodes = []
            for pairs, node in zip(PAIRS, cell, strict=True):
                present = dict(node)
                (lower, low), (higher, high) = (
                    (source, self._other(present.get(source), rng)) for source in pairs[int(rng.integers(len(pairs)))]
                )
                nodes.append(((lower, low), (higher, high)))
            cells.append(tuple(nodes))
        return encoded(cells)

    def _other(self, option: int | None, rng: np.random.Generator) -> int:
        if option is None:
            return int(rng.integers(self.operations))
        return (option + int(rng.integers(1, self.operations))) % self.operations

    def tokens(self, architecture: Architecture) -> tuple[int, ...]:
        """Return 32 tokens, (predecessor, 5 + operation) of every operation, the lower predecessor first."""
        entries = (entry for cell in decoded(architecture) for node in cell for entry in node)
        return tuple(token for source, option in entries for token in (source, PREDECESSORS + option))

    def from_tokens(self, tokens: Sequence[int]) -> Architecture:
        """Return the architecture of 32 allowed tokens; the entries of a node may come in either order."""
        entries = [(int(s), int(o) - PREDECESSORS) for s, o in zip(tokens[::2], tokens[1::2], strict=True)]
        nodes = []
        for pair in zip(entries[::2], entries[1::2], strict=True):
            one, two = sorted(pair)
            nodes.append((one, two))
        return encoded((tuple(nodes[:NODES]), tuple(nodes[NODES:])))

    def allowed_tokens(self, prefix: Sequence[int]) -> tuple[int, ...]:
        """Return operations after a predecessor, else the predecessors that the node may have and has not yet."""
        entry, is_operation = divmod(len(prefix), 2)
        if is_operation:
            return tuple(range(PREDECESSORS, self.vocabulary))
        node, second = divmod(entry, 2)
        taken = {prefix[-2]} if second else set()
        return tuple(source for source in range(INPUTS + node % NODES) if source not in taken)

    def rewritten(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return an isomorphic encoding: the nodes of each cell in a random order that dependencies allow."""
        cells = []
        for cell in decoded(architecture):
            valid = orders(cell)
            cells.append(reordered(cell, valid[int(rng.integers(len(valid)))]))
        return encoded(cells)

    def flow(self, architecture: Architecture) -> tuple[FlowGraph, ...]:
        """Return the data flow of the normal and of the reduction cell: two inputs, four nodes, eight edges each."""
        return tuple(
            FlowGraph(
                INPUTS + NODES,
                tuple(range(INPUTS)),
                tuple(
                    (source, target, option)
                    for target, node in enumerate(cell, start=INPUTS)
                    for source, option in node
                ),
            )
            for cell in decoded(architecture)
        )

    # --- networks ---------------------------------------------------------------------------------------------------
    def cost(self, architecture: Architecture, config: NetworkConfig) -> Cost:
        """Return parameters and multiply-accumulates of convolutions and classifier, without an auxiliary head.

        The parameters that Ning et al. (2021) publish for NAS-Bench-301 are those at 36 channels and 8 cells, batch
        norms affine; their FLOPs are the MACs at 16 channels, except that the second convolution of a factorized
        reduction, whose input lacks a row and a column, counts as (side - 1)^2 / 4 pixels instead of side^2 / 4.
        """
        self.check(architecture)
        (parameters, macs), operations = costs(config)
        for of_kind, cell in zip(operations, decoded(architecture), strict=True):
            for node in cell:
                for source, option in node:
                    more_parameters, more_macs = of_kind[source < INPUTS][option]
                    parameters += more_parameters
                    macs += more_macs
        return Cost(parameters, macs)

    def supernet(
        self, config: NetworkConfig, *, affine: bool = False, sharing: MakeSharing | None = None
    ) -> DARTSSupernet:
        """Return the supernet; by default it shares by position."""
        # Imported here because of torch, which only commands that train should import.
        from supertau.search_spaces.nasbench301.network import DARTSSupernet
        from supertau.search_spaces.supernet import ShareByPosition

        return DARTSSupernet(config, affine=affine, sharing=sharing or ShareByPosition)

    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the stand-alone network of an architecture, batch norms affine."""
        from supertau.search_spaces.nasbench301.network import DARTSNetwork  # as in `supernet`

        self.check(architecture)
        return DARTSNetwork(architecture, config)

    def truth(
        self,
        dataset: str,
        path: Path | None = None,
        *,
        split: str | None = None,
        epochs: int | None = None,
        trust_pickle: bool = False,
    ) -> GroundTruth | Surrogate:
        """Return accuracies: built in ('micro'), of a table, or of NAS-Bench-301's surrogate files ('cifar10').

        The surrogates predict the accuracy on the images left out of training, split 'val (surrogate)', after 100
        epochs. There is no other split or length; to ask for one raises DataError.
        """
        return load(self, dataset, path, split=split, epochs=epochs, trust_pickle=trust_pickle)
