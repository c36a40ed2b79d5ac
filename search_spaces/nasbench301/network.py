"""Networks of DARTS cells: one skeleton, a supernet or, with only the operations used, a stand-alone network.

The stand-alone network is that of the final training of DARTS, the one behind NAS-Bench-301, without auxiliary head
and drop-path. As there, pooling is not followed by a batch norm (during the search of DARTS it is); a supernet does
the same, so that a path and its stand-alone network are one network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import torch
from torch import nn
from torch.nn import functional

from supertau.search_spaces.architecture import Architecture, NetworkConfig
from supertau.search_spaces.layers import AvgPool3x3, BatchNorm2d, DilatedConv2d, PointwiseConv2d
from supertau.search_spaces.nasbench301.genotype import (
    AVG_POOL,
    DIL3,
    DIL5,
    INPUTS,
    KINDS,
    MAX_POOL,
    NODES,
    OPERATIONS,
    REDUCE,
    SEP3,
    SEP5,
    SKIP,
    decoded,
)
from supertau.search_spaces.nasbench301.skeleton import Layer, layers
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

_FIRST_SLOT = tuple(sum(INPUTS + earlier for earlier in range(node)) for node in range(NODES))
"""Slots of a cell are ordered by node, then predecessor: 2 + 3 + 4 + 5 = 14."""

Sourced = tuple[Edge, int]
"""An edge and its source."""
Distinct = tuple[list[torch.Tensor], list[int]]
"""The distinct states of several sub-networks, and which of them is each one's."""


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2, the second of them one pixel further, side by side, batch norm."""

    def __init__(self, narrow: int, width: int, *, affine: bool = True) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = PointwiseConv2d(narrow, width // 2, stride=2)
        self.odd = PointwiseConv2d(narrow, width - width // 2, stride=2)
        self.norm = BatchNorm2d(width, affine=affine)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        state = self.relu(state)
        height, width = state.shape[2:]
        shifted = state[:, :, 1:, 1:]
        if height % 2 or width % 2:  # an odd side has fewer odd than even pixels: zeros make up for it
            shifted = functional.pad(shifted, (0, width % 2, 0, height % 2))
        normed: torch.Tensor = self.norm(torch.cat([self.even(state), self.odd(shifted)], 1))
        return normed


def _separable(width: int, kernel: int, stride: int, dilation: int, *, affine: bool) -> list[nn.Module]:
    spatial = (
        DilatedConv2d(width, kernel, stride)
        if dilation == 2
        else nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False)
    )
    return [
        nn.ReLU(),
        spatial,
        PointwiseConv2d(width, width),
        BatchNorm2d(width, affine=affine),
    ]


def make_operation(option: int, width: int, stride: int, *, affine: bool) -> nn.Module:
    """Return the module of an operation."""
    if option == MAX_POOL:
        return nn.MaxPool2d(3, stride, padding=1)
    if option == AVG_POOL:
        return AvgPool3x3(stride)
    if option == SKIP:
        return nn.Identity() if stride == 1 else FactorizedReduce(width, width, affine=affine)
    kernel = 3 if option in (SEP3, DIL3) else 5
    if option in (SEP3, SEP5):
        first = _separable(width, kernel, stride, 1, affine=affine)
        return nn.Sequential(*first, *_separable(width, kernel, 1, 1, affine=affine))
    if option in (DIL3, DIL5):
        return nn.Sequential(*_separable(width, kernel, stride, 2, affine=affine))
    raise ValueError(f"operation {option} has no module")


@lru_cache(maxsize=2**14)
def cell_edges(architecture: Architecture) -> tuple[tuple[tuple[Sourced, Sourced], ...], ...]:
    """Return, for each kind of cell and each node, the two edges that enter it, numbered over both kinds."""
    kinds = []
    for kind, cell in enumerate(decoded(architecture)):
        nodes = []
        for node, entries in enumerate(cell):
            first = 2 * (NODES * kind + node)
            one, two = (
                (Edge(first + place, _FIRST_SLOT[node] + source, option), source)
                for place, (source, option) in enumerate(entries)
            )
            nodes.append((one, two))
        kinds.append(tuple(nodes))
    return tuple(kinds)


def all_slots(options: Sequence[int] = range(len(OPERATIONS))) -> tuple[list[Slot], ...]:
    """Return the 14 slots of a normal and of a reduction cell; form 1 is stride 2."""
    return tuple(
        [
            Slot(tuple(options), int(kind == REDUCE and source < INPUTS))
            for node in range(NODES)
            for source in range(INPUTS + node)
        ]
        for kind in range(len(KINDS))
    )


def used_slots(architecture: Architecture) -> tuple[list[Slot], ...]:
    """Return the slots that hold the operations of one architecture and no others."""
    slots = all_slots(())
    for of_kind, nodes in zip(slots, cell_edges(architecture), strict=True):
        for edge, _ in (sourced for entering in nodes for sourced in entering):
            of_kind[edge.slot] = Slot((edge.option,), of_kind[edge.slot].form)
    return slots


class Cell(nn.Module):
    """One cell: both inputs are projected to its width, nodes are sums of two operations, the output holds all nodes.

    sharing: owns its operations.
    """

    def __init__(self, layer: Layer, sharing: Sharing) -> None:
        super().__init__()
        self.kind = layer.kind
        first = FactorizedReduce if layer.halved else partial(ReLUConvBN, kernel=1)
        self.project = nn.ModuleList([first(layer.before, layer.width), ReLUConvBN(layer.last, layer.width, 1)])
        self.sharing = sharing

    def _copies(self, edge: Edge, source: int) -> bool:
        """Return whether an edge hands its state on as it is: a skip with stride 1."""
        return edge.option == SKIP and not (self.kind == REDUCE and source < INPUTS)

    def forward(self, before: torch.Tensor, last: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        states = [project(state) for project, state in zip(self.project, (before, last), strict=True)]
        for entering in cell_edges(architecture)[self.kind]:
            low, high = (
                states[source] if self._copies(edge, source) else self.sharing.run(architecture, edge, states[source])
                for edge, source in entering
            )
            states.append(low + high)
        return torch.cat(states[INPUTS:], 1)

    def forward_many(self, before: Distinct, last: Distinct, architectures: Sequence[Architecture]) -> Distinct:
        """Return the outputs of several cells.

        Nothing is computed twice: a module runs once on each of its inputs, however many cells contain it, and on all
        of them in one go.
        """
        states = [
            projected
            for project, (inputs, _) in zip(self.project, (before, last), strict=True)
            for projected in run_stacked(project, inputs)
        ]
        # The states of each cell, by number: two inputs at first, then its nodes.
        cells = [[one, len(before[0]) + two] for one, two in zip(before[1], last[1], strict=True)]
        for node in range(NODES):
            terms: list[tuple[Term, ...]] = []
            for cell, architecture in zip(cells, architectures, strict=True):
                terms.append(
                    tuple(
                        (
                            None if self._copies(edge, source) else self.sharing.operation(architecture, edge),
                            cell[source],
                        )
                        for edge, source in cell_edges(architecture)[self.kind][node]
                    )
                )
            outputs = run_distinct(states, terms)
            sums: dict[tuple[Term, ...], int] = {}
            for cell, entering in zip(cells, terms, strict=True):
                if entering not in sums:
                    low, high = entering
                    sums[entering] = len(states)
                    states.append(outputs[low] + outputs[high])
                cell.append(sums[entering])
        made = {nodes: number for number, nodes in enumerate(dict.fromkeys(tuple(cell[INPUTS:]) for cell in cells))}
        return [torch.cat([states[at] for at in nodes], 1) for nodes in made], [made[tuple(c[INPUTS:])] for c in cells]

    def path(self, architecture: Architecture) -> Iterator[nn.Module]:
        """Yield the leaf modules that a cell runs, each once."""
        yield from leaves(self.project)
        operations = (
            self.sharing.operation(architecture, edge)
            for entering in cell_edges(architecture)[self.kind]
            for edge, source in entering
            if not self._copies(edge, source)
        )
        for operation in dict.fromkeys(operations):  # a scheme may lend one module to several edges
            yield from leaves(operation)


class DARTSSupernet(Supernet):
    """Stem, three stages of `cells` normal cells with a reduction cell between, global pooling, classifier.

    affine: whether batch norms of operations have weight and bias (those of stem and projections always have).
    slots: which operations the slots of normal and reduction cells hold; all by default. sharing: makes the owner of
    a cell's parameters from its slots and a module maker; by default each slot of each cell owns its own.
    """

    def __init__(
        self,
        config: NetworkConfig,
        *,
        affine: bool = False,
        slots: Sequence[Sequence[Slot]] | None = None,
        sharing: MakeSharing = ShareByPosition,
    ) -> None:
        super().__init__()
        self.config = config
        slots = slots or all_slots()
        width = 3 * config.channels
        self.stem = nn.Sequential(nn.Conv2d(config.image_channels, width, 3, padding=1, bias=False), BatchNorm2d(width))
        self.cells = nn.ModuleList()
        for layer in layers(config):

            def make(option: int, form: int, width: int = layer.width) -> nn.Module:
                return make_operation(option, width, 1 + form, affine=affine)

            self.cells.append(Cell(layer, sharing(slots[layer.kind], make)))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(NODES * layer.width, config.classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        before = last = self.stem(images)
        for cell in self.cells:
            before, last = last, cell(before, last, architecture)
        features: torch.Tensor = self.head(last)
        return features

    def forward_many(self, images: torch.Tensor, architectures: Sequence[Architecture]) -> torch.Tensor:
        before = last = [self.stem(images)], [0] * len(architectures)
        for cell in self.cells:
            assert isinstance(cell, Cell)
            before, last = last, cell.forward_many(before, last, architectures)
        states, rows = last
        logits = [self.classifier(features) for features in run_stacked(self.head, states)]
        return torch.stack([logits[row] for row in rows])

    def path_modules(self, architecture: Architecture) -> Iterator[nn.Module]:
        yield from leaves(self.stem)
        for cell in self.cells:
            assert isinstance(cell, Cell)
            yield from cell.path(architecture)
        yield from leaves(self.head)
        yield self.classifier


class DARTSNetwork(PathNetwork):
    """The stand-alone network of one architecture."""

    @staticmethod
    def make(architecture: Architecture, config: NetworkConfig, affine: bool) -> DARTSSupernet:
        return DARTSSupernet(config, affine=affine, slots=used_slots(architecture))
