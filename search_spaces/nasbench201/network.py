"""Networks of NAS-Bench-201: one skeleton, a supernet or, with a single option per edge, a stand-alone network."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import torch
from torch import nn

from supertau.search_spaces.architecture import Architecture, NetworkConfig
from supertau.search_spaces.layers import AvgPool3x3, BatchNorm2d, PointwiseConv2d
from supertau.search_spaces.nasbench201.canonical import used_edges
from supertau.search_spaces.nasbench201.cells import CONV1, CONV3, EDGES, NONE, OPERATIONS, OUTPUT, POOL, SKIP
from supertau.search_spaces.supernet import (
    Edge,
    MakeSharing,
    PathNetwork,
    ReLUConvBN,
    ShareByPosition,
    Sharing,
    Slot,
    Supernet,
    Term,
    leaves,
    run_distinct,
    run_stacked,
)


def make_operation(option: int, width: int, *, affine: bool) -> nn.Module:
    """Return the module of an operation that computes something (not `none`)."""
    if option == SKIP:
        return nn.Identity()
    if option == CONV1:
        return ReLUConvBN(width, width, 1, affine=affine)
    if option == CONV3:
        return ReLUConvBN(width, width, 3, affine=affine)
    if option == POOL:
        return AvgPool3x3()
    raise ValueError(f"operation {option} has no module")


def _edge(architecture: Architecture, edge: int) -> Edge:
    return Edge(edge, edge, architecture[edge])


class Cell(nn.Module):
    """One cell: each node is the sum of its incoming edges; nodes that lead nowhere are not computed."""

    def __init__(self, sharing: Sharing) -> None:
        super().__init__()
        self.sharing = sharing

    def forward(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        nodes: list[torch.Tensor | None] = [images, None, None, None]
        for edge in used_edges(architecture):
            source, target = EDGES[edge]
            # A node that only `none` edges enter is zero, and what leaves it is computed from zeros: batch norm with
            # a bias, or with inherited statistics, does not map zero to zero.
            state = nodes[source] if nodes[source] is not None else torch.zeros_like(images)
            assert state is not None
            option = architecture[edge]
            output = state if option == SKIP else self.sharing.run(architecture, _edge(architecture, edge), state)
            earlier = nodes[target]
            nodes[target] = output if earlier is None else earlier + output
        last = nodes[OUTPUT]
        return torch.zeros_like(images) if last is None else last

    def forward_many(
        self, states: Sequence[torch.Tensor], rows: Sequence[int], architectures: Sequence[Architecture]
    ) -> tuple[list[torch.Tensor], list[int]]:
        """Return the distinct outputs of several cells, and for each cell which of them is its own.

        states: the distinct inputs; rows: which of them enters each cell. Nothing is computed twice: a module runs once
        on each of its inputs, however many cells contain it, and on all of them in one go.
        """
        states = list(states)  # grows by the sums of all cells, each of which refers to its own by their numbers
        zero = len(states)  # the number of a node that only `none` edges enter
        states.append(torch.zeros_like(states[0]))
        nodes = [[row, zero, zero, zero] for row in rows]
        for node in range(1, OUTPUT + 1):
            terms: list[tuple[Term, ...]] = []
            for cell, architecture in zip(nodes, architectures, strict=True):
                entering = (edge for edge in used_edges(architecture) if EDGES[edge][1] == node)
                terms.append(
                    tuple(
                        (
                            None
                            if architecture[edge] == SKIP
                            else self.sharing.operation(architecture, _edge(architecture, edge)),
                            cell[EDGES[edge][0]],
                        )
                        for edge in entering
                    )
                )
            outputs = run_distinct(states, terms)
            sums: dict[tuple[Term, ...], int] = {(): zero}
            for cell, entering_terms in zip(nodes, terms, strict=True):
                if entering_terms not in sums:
                    total = outputs[entering_terms[0]]
                    for term in entering_terms[1:]:
                        total = total + outputs[term]
                    sums[entering_terms] = len(states)
                    states.append(total)
                cell[node] = sums[entering_terms]
        last = list(dict.fromkeys(cell[OUTPUT] for cell in nodes))
        return [states[at] for at in last], [last.index(cell[OUTPUT]) for cell in nodes]

    def signature(self, architecture: Architecture) -> Hashable:
        """Return the edges that are computed and the modules that compute them."""
        return tuple(
            (
                edge,
                None if architecture[edge] == SKIP else self.sharing.operation(architecture, _edge(architecture, edge)),
            )
            for edge in used_edges(architecture)
        )

    def path(self, architecture: Architecture) -> Iterator[nn.Module]:
        """Yield the leaf modules that a cell runs, each once."""
        operations = (
            self.sharing.operation(architecture, _edge(architecture, edge))
            for edge in used_edges(architecture)
            if architecture[edge] != SKIP
        )
        for operation in dict.fromkeys(operations):  # a scheme may lend one module to several edges
            yield from leaves(operation)


class Reduction(nn.Module):
    """The residual block between stages: halves the image, doubles the width."""

    def __init__(self, narrow: int, width: int) -> None:
        super().__init__()
        self.first = ReLUConvBN(narrow, width, 3, stride=2)
        self.second = ReLUConvBN(width, width, 3)
        # ceil_mode keeps odd image sizes in step with the strided convolution; even ones are unaffected.
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, stride=2, ceil_mode=True), PointwiseConv2d(narrow, width))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.shortcut(images) + self.second(self.first(images))


class NASBench201Supernet(Supernet):
    """Stem, three stages of `cells` cells with a reduction between, batch norm, global pooling, classifier.

    affine: whether batch norms inside cells have weight and bias (stem, reductions and head always have).
    slots: which operations each edge holds; all by default. sharing: makes the owner of a cell's parameters from those
    slots and a module maker; by default each edge of each cell owns its own.
    """

    def __init__(
        self,
        config: NetworkConfig,
        *,
        affine: bool = False,
        slots: Sequence[Slot] | None = None,
        sharing: MakeSharing = ShareByPosition,
    ) -> None:
        super().__init__()
        self.config = config
        slots = slots or [Slot(tuple(o for o in range(len(OPERATIONS)) if o != NONE))] * len(EDGES)
        width = config.channels
        self.stem = nn.Sequential(nn.Conv2d(config.image_channels, width, 3, padding=1, bias=False), BatchNorm2d(width))
        layers: list[nn.Module] = []
        for stage in range(3):
            if stage:
                layers.append(Reduction(width, 2 * width))
                width *= 2

            def make(option: int, _form: int, width: int = width) -> nn.Module:
                return make_operation(option, width, affine=affine)

            layers.extend(Cell(sharing(slots, make)) for _ in range(config.cells))
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(width, config.classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        state = self.stem(images)
        for layer in self.layers:
            state = layer(state, architecture) if isinstance(layer, Cell) else layer(state)
        features: torch.Tensor = self.head(state)
        return features

    def forward_many(self, images: torch.Tensor, architectures: Sequence[Architecture]) -> torch.Tensor:
        states, rows = [self.stem(images)], [0] * len(architectures)
        for layer in self.layers:
            if isinstance(layer, Cell):
                states, rows = layer.forward_many(states, rows, architectures)
            else:
                states = run_stacked(layer, states)
        logits = [self.classifier(features) for features in run_stacked(self.head, states)]
        return torch.stack([logits[row] for row in rows])

    def signature(self, architecture: Architecture) -> Hashable:
        """Return the module on each edge that leads to the output, in every cell."""
        return tuple(layer.signature(architecture) for layer in self.layers if isinstance(layer, Cell))

    def path_modules(self, architecture: Architecture) -> Iterator[nn.Module]:
        yield from leaves(self.stem)
        for layer in self.layers:
            yield from layer.path(architecture) if isinstance(layer, Cell) else leaves(layer)
        yield from leaves(self.head)
        yield self.classifier


class NASBench201Network(PathNetwork):
    """The stand-alone network of one architecture."""

    @staticmethod
    def make(architecture: Architecture, config: NetworkConfig, affine: bool) -> NASBench201Supernet:
        slots = [Slot((option,) if option != NONE else ()) for option in architecture]
        return NASBench201Supernet(config, affine=affine, slots=slots)
