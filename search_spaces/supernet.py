"""Supernets, and the sharing schemes that say which parameters serve which position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import nn

from supertau.search_spaces.architecture import Architecture, NetworkConfig
from supertau.search_spaces.layers import BatchNorm2d, Conv3x3, PointwiseConv2d


class Supernet(nn.Module, ABC):
    """A network that holds every architecture of a space: ``supernet(images, architecture)`` gives logits.

    images: (B, image_channels, S, S) float, any memory format; logits: (B, classes). Every batch norm is a
    ``nn.BatchNorm2d``; the scorer decides how its statistics are used.
    """

    config: NetworkConfig
    classifier: nn.Linear
    """Maps features to logits."""

    @abstractmethod
    def features(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        """Return what enters the classifier: (B, classifier.in_features)."""

    def forward(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        """Return the logits of one sub-network."""
        logits: torch.Tensor = self.classifier(self.features(images, architecture))
        return logits

    def forward_many(self, images: torch.Tensor, architectures: Sequence[Architecture]) -> torch.Tensor:
        """Return the logits of several sub-networks, (N, B, classes): the same numbers as one by one.

        Override it where sub-networks have work in common. A module may then see the states of several sub-networks
        stacked along the first axis, B images of each.
        """
        return torch.stack([self(images, architecture) for architecture in architectures])

    def signature(self, architecture: Architecture) -> Hashable:
        """Return a key that only sub-networks with the same logits share: by default the architecture itself.

        Override it where decisions can be without effect.
        """
        return architecture

    @abstractmethod
    def path_modules(self, architecture: Architecture) -> Iterator[nn.Module]:
        """Yield the leaf modules that a sub-network runs, each once."""

    def path_parameters(self, architecture: Architecture) -> list[nn.Parameter]:
        """Return the parameters a sub-network uses."""
        return [p for module in self.path_modules(architecture) for p in module.parameters(recurse=False)]


class PathNetwork(nn.Module, ABC):
    """A stand-alone network: a supernet that holds the operations of one architecture only, ``network(images)``.

    Its weights are named as in the supernet, below 'body'.
    """

    def __init__(self, architecture: Architecture, config: NetworkConfig, *, affine: bool = True) -> None:
        super().__init__()
        self.architecture = architecture
        self.body = self.make(architecture, config, affine)

    @staticmethod
    @abstractmethod
    def make(architecture: Architecture, config: NetworkConfig, affine: bool) -> Supernet:
        """Return the supernet without what the architecture does not use."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (B, classes)."""
        logits: torch.Tensor = self.body(images, self.architecture)
        return logits

    @classmethod
    def extract(cls, supernet: Supernet, architecture: Architecture, *, affine: bool = False) -> Self:
        """Return the network that holds a copy of a path's weights; affine as the supernet was built."""
        network = cls(architecture, supernet.config, affine=affine)
        weights = supernet.state_dict()
        network.body.load_state_dict({name: weights[name] for name in network.body.state_dict()})
        return network


class ReLUConvBN(nn.Sequential):
    """ReLU, 1x1 or 3x3 convolution without bias, batch norm: the form of convolutions in and between cells."""

    def __init__(self, narrow: int, width: int, kernel: Literal[1, 3], stride: int = 1, *, affine: bool = True) -> None:
        super().__init__(
            nn.ReLU(),
            (PointwiseConv2d if kernel == 1 else Conv3x3)(narrow, width, stride),
            BatchNorm2d(width, affine=affine),
        )


STACKED = 2**18
"""Numbers in a state from which copying it costs more than another call of the module."""


def run_stacked(module: nn.Module, states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Run a module on several inputs (B, C, H, W); small ones are stacked along the first axis and run in one go."""
    if len(states) == 1 or states[0].numel() >= STACKED:
        return [module(state) for state in states]
    return list(module(torch.cat(list(states))).split(len(states[0])))


Term = tuple[nn.Module | None, int]
"""A module (None: identity) and the number of the state that enters it."""


def run_distinct(states: Sequence[torch.Tensor], terms: Sequence[tuple[Term, ...]]) -> dict[Term, torch.Tensor]:
    """Return the output of every distinct term; all inputs of one module are run in one go."""
    work: dict[nn.Module | None, list[int]] = {}
    for module, source in dict.fromkeys(term for entering in terms for term in entering):
        work.setdefault(module, []).append(source)
    outputs = {}
    for module, sources in work.items():
        inputs = [states[source] for source in sources]
        results = inputs if module is None else run_stacked(module, inputs)
        outputs.update({(module, source): result for source, result in zip(sources, results, strict=True)})
    return outputs


class Slot(NamedTuple):
    """A place in a cell that can hold an operation.

    options: those it may hold. form: what besides the option decides the module there, such as a stride.
    """

    options: tuple[int, ...]
    form: int = 0


class Edge(NamedTuple):
    """An operation of one architecture.

    number: its place in `SearchSpace.flow`, counted over all kinds of cells (in a chain: its position in the stage).
    slot: its place in the cell. option: which operation it is.
    """

    number: int
    slot: int
    option: int


class Sharing(nn.Module, ABC):
    """Owns the parameters of one cell's operations and lends them to edges.

    Operations are decoupled from the parameters they use: an edge has only an operation type, and the scheme decides
    which parameters run it.
    """

    @abstractmethod
    def operation(self, architecture: Architecture, edge: Edge) -> nn.Module:
        """Return the module that runs an edge of an architecture when it is scored or trained alone."""

    def run(self, architecture: Architecture, edge: Edge, state: torch.Tensor, *sizes: Any) -> torch.Tensor:
        """Return the output of an edge in training; a scheme that learns its assignment mixes modules here.

        sizes: what the module is called with besides the state, in spaces whose operations have a variable size.
        """
        output: torch.Tensor = self.operation(architecture, edge)(state, *sizes)
        return output


MakeModule = Callable[[int, int], nn.Module]
"""From an option and a form to the module."""
MakeSharing = Callable[[Sequence[Slot], MakeModule], Sharing]
"""From the slots of a cell, and a maker of modules, to the owner of that cell's modules."""


class ShareByPosition(Sharing):
    """The usual supernet: every slot of every cell owns one module per option.

    A stand-alone network is the same scheme with a single option in each slot that it uses.
    """

    def __init__(self, slots: Sequence[Slot], make: MakeModule) -> None:
        super().__init__()
        self.edges = nn.ModuleList(nn.ModuleDict({str(o): make(o, form) for o in options}) for options, form in slots)

    def operation(self, architecture: Architecture, edge: Edge) -> nn.Module:
        options = self.edges[edge.slot]
        assert isinstance(options, nn.ModuleDict)
        return options[str(edge.option)]


def leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a tree that hold no other module."""
    for part in module.modules():
        if not any(part.children()):
            yield part
