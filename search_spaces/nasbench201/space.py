"""NAS-Bench-201: cells of four nodes and six edges with five operations, 15,625 in all (Dong and Yang, ICLR 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from supertau.search_spaces.architecture import Architecture, Cost, FlowGraph, NetworkConfig
from supertau.search_spaces.nasbench201 import canonical, cells, forms
from supertau.search_spaces.nasbench201.cells import CONV1, CONV3, EDGES, NONE, OPERATIONS
from supertau.search_spaces.nasbench201.truth import ALIASES, DATASETS, load
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
    truths = DATASETS
    aliases = ALIASES

    def format(self, architecture: Architecture) -> str:
        """Return ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        try:
            return cells.to_text(tuple(architecture))
        except KeyError:
            self.check(architecture)
            raise

    def parse(self, text: str) -> Architecture:
        """Return the encoding of a text form; raise InvalidArchitecture saying what is wrong with it.

        Also read are the benchmark's index and the other forms of `supertau.search_spaces.nasbench201.forms`.
        """
        return forms.parse(text)

    def nearest(self, text: str) -> str | None:
        """Return the text form with each unknown operation replaced by the most similar one."""
        architecture = forms.nearest_cell(text)
        return None if architecture is None else self.format(architecture)

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

    def truth(
        self,
        dataset: str,
        path: Path | None = None,
        *,
        split: str | None = None,
        epochs: int | None = None,
        trust_pickle: bool = False,
    ) -> GroundTruth:
        """Return accuracies: built in, or of an official file, a NATS-Bench folder or a table.

        dataset: 'cifar10', 'cifar100' or 'imagenet16-120', however written; of a table, any. split: 'x-valid' by
        default. epochs: 200 by default, or 12. What is built in is x-valid after 200 epochs; a table has what it says.

        On CIFAR-10 the split decides which networks these are. x-valid is one half of the training images; its
        networks were trained on the other half, which the benchmark calls the data set 'cifar10-valid'. ori-test is the
        test images; its networks were trained on all training images ('cifar10' in the benchmark's files). So
        'cifar10-valid' is read as 'cifar10' with x-valid.

        On CIFAR-100 and ImageNet16-120 one set of networks was trained on all training images. ori-test is the official
        test images (of ImageNet16-120 the validation images), x-valid and x-test a half of those each.

        Published correlations often use the test accuracy, with which the same scores have another tau.
        """
        return load(self, dataset, path, split=split, epochs=epochs, trust_pickle=trust_pickle)
