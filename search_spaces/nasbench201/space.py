"""NAS-Bench-201: cells of four nodes and six edges with five operations, 15,625 in all (Dong and Yang, ICLR 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from supertau.search_spaces.architecture import Architecture, Cost, FlowGraph, NetworkConfig
from supertau.search_spaces.nasbench201 import canonical, cells
from supertau.search_spaces.nasbench201.cells import CONV1, CONV3, EDGES, NONE, OPERATIONS
from supertau.search_spaces.nasbench201.truth import load
from supertau.search_spaces.space import SearchSpace
from supertau.search_spaces.truth import GroundTruth

if TYPE_CHECKING:  # these import torch, which only commands that train should do
    from torch import nn

    from supertau.search_spaces.nasbench201.network import NASBench201Supernet
    from supertau.search_spaces.supernet import MakeSharing


class NASBench201(SearchSpace):
    """The space; an architecture holds one operation number per edge, edges in the order of the text form."""

    name = "nasbench201"
    title = "NAS-Bench-201"
    choices = (len(OPERATIONS),) * len(EDGES)
    truths = ("cifar10", "cifar100", "imagenet16-120")

    def format(self, architecture: Architecture) -> str:
        """Return ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        try:
            return cells.to_text(tuple(architecture))
        except KeyError:
            self.check(architecture)
            raise

    def parse(self, text: str) -> Architecture:
        """Return the encoding of a text form; raise InvalidArchitecture saying what is wrong with it."""
        return cells.from_text(text)

    def enumerate(self) -> Iterator[Architecture]:
        """Yield the 15,625 cells in the benchmark's index order."""
        return iter(cells.official_order())

    def canonical(self, architecture: Architecture) -> str:
        """Return the class key of Dong and Yang's string rule (6,466 classes)."""
        return canonical.string_rule(architecture)

    def is_connected(self, architecture: Architecture) -> bool:
        """Return whether a path leads from input to output (15,284 cells)."""
        return canonical.is_connected(architecture)

    def order(self, architecture: Architecture) -> Architecture:
        """Return the encoding without operations that lead nowhere, with which cells are often the same."""
        return canonical.reduced(architecture)

    def has_live_convolution(self, architecture: Architecture) -> bool:
        """Return whether a convolution lies on such a path."""
        return canonical.has_live_convolution(architecture)

    def cost(self, architecture: Architecture, config: NetworkConfig) -> Cost:
        """Return parameters and multiply-accumulates of convolutions and classifier.

        Operations that lead nowhere are counted, as the benchmark counts them; at the default configuration with ten
        classes the parameters are 73,306 + 243,040 n_conv3x3 + 28,000 n_conv1x1.
        """
        self.check(architecture)
        conv3, conv1 = architecture.count(CONV3), architecture.count(CONV1)
        width, side = config.channels, config.image_size
        parameters = config.image_channels * 9 * width + 2 * width
        macs = config.image_channels * 9 * width * side * side
        for stage in range(3):
            if stage:  # residual block of stride 2: two 3x3 convolutions with batch norm, a 1x1 shortcut without
                narrow, width, side = width, 2 * width, (side + 1) // 2
                weights = 9 * narrow * width + 9 * width * width + narrow * width
                parameters += weights + 4 * width
                macs += weights * side * side
            weights = config.cells * width * width * (9 * conv3 + conv1)
            parameters += weights + config.cells * 2 * width * (conv3 + conv1)
            macs += weights * side * side
        parameters += 2 * width + width * config.classes + config.classes
        return Cost(parameters, macs + width * config.classes)

    def flow(self, architecture: Architecture) -> tuple[FlowGraph, ...]:
        """Return the data flow of the one kind of cell: four nodes, the first of which is the input."""
        edges = (
            (source, target, None if option == NONE else option)
            for option, (source, target) in zip(architecture, EDGES, strict=True)
        )
        return (FlowGraph(4, (0,), tuple(edges)),)

    def supernet(
        self, config: NetworkConfig, *, affine: bool = False, sharing: MakeSharing | None = None
    ) -> NASBench201Supernet:
        """Return the supernet; by default it shares by position."""
        # Imported here because of torch, which only commands that train should import.
        from supertau.search_spaces.nasbench201.network import NASBench201Supernet
        from supertau.search_spaces.supernet import ShareByPosition

        return NASBench201Supernet(config, affine=affine, sharing=sharing or ShareByPosition)

    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the stand-alone network of a cell, batch norms affine."""
        from supertau.search_spaces.nasbench201.network import NASBench201Network  # as in `supernet`

        self.check(architecture)
        return NASBench201Network(architecture, config)

    def truth(self, dataset: str, path: Path | None = None, *, trust_pickle: bool = False) -> GroundTruth:
        """Return 200-epoch accuracies: built in, or of an official file, a NATS-Bench folder or a table."""
        return load(self, dataset, path, trust_pickle=trust_pickle)
