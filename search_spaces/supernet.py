"""The supernet interface and the sharing scheme that says which parameters serve which position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from search_spaces.space import Architecture


class Supernet(nn.Module, ABC):
    """A network that holds every architecture of a space: ``supernet(images, architecture)`` gives logits.

    images: (B, image_channels, S, S) float, any memory format; logits: (B, classes). Every batch norm is a
    ``nn.BatchNorm2d``; how its statistics are used when scoring is the scorer's business.
    """

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

        Override it where sub-networks have work in common. A module may then see the images of several sub-networks
        stacked along the first axis, a whole B of them for each.
        """
        return torch.stack([self(images, architecture) for architecture in architectures])

    @abstractmethod
    def path_modules(self, architecture: Architecture) -> Iterator[nn.Module]:
        """Yield the leaf modules that a sub-network runs, each once."""

    def path_parameters(self, architecture: Architecture) -> list[nn.Parameter]:
        """Return the parameters a sub-network uses."""
        return [p for module in self.path_modules(architecture) for p in module.parameters(recurse=False)]


def run_stacked(module: nn.Module, states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Run a module once on several inputs (B, C, H, W) stacked along the first axis; return the outputs apart."""
    if len(states) == 1:
        return [module(states[0])]
    return list(module(torch.cat(list(states))).split(len(states[0])))


class Sharing(nn.Module, ABC):
    """Owns the parameters of one cell's operations and lends them to edges.

    Operations are decoupled from the parameters they use: an edge has only an operation type, and the scheme decides
    which parameters run it.
    """

    @abstractmethod
    def operation(self, architecture: Architecture, edge: int) -> nn.Module:
        """Return the module that runs an edge of an architecture when it is scored or trained alone."""

    def run(self, architecture: Architecture, edge: int, state: torch.Tensor) -> torch.Tensor:
        """Return the output of an edge in training; a scheme that learns its assignment mixes modules here."""
        output: torch.Tensor = self.operation(architecture, edge)(state)
        return output


MakeSharing = Callable[[list[list[int]], Callable[[int], nn.Module]], Sharing]
"""From the options of each edge of a cell, and a maker of an option's module, to the owner of that cell's modules."""


class ShareByPosition(Sharing):
    """The usual supernet: every edge of every cell owns one module per option.

    options: which options to hold for each edge; make: builds the module of an option.
    A stand-alone network is the same scheme with a single option per edge.
    """

    def __init__(self, options: list[list[int]], make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(nn.ModuleDict({str(o): make(o) for o in held}) for held in options)

    def operation(self, architecture: Architecture, edge: int) -> nn.Module:
        held = self.edges[edge]
        assert isinstance(held, nn.ModuleDict)
        return held[str(architecture[edge])]
