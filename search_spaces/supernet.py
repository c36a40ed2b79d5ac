"""The supernet interface and the sharing scheme that says which parameters serve which position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import nn

from search_spaces.space import Architecture


class Supernet(nn.Module, ABC):
    """A network that holds every architecture of a space: ``supernet(images, architecture)`` gives logits.

    images: (B, image_channels, S, S) float, any memory format; logits: (B, classes). A batch-norm layer that tracks
    statistics is a ``nn.BatchNorm2d``; how its statistics are used when scoring is the scorer's business.
    """

    @abstractmethod
    def forward(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        """Return the logits of one sub-network."""

    @abstractmethod
    def path_modules(self, architecture: Architecture) -> Iterator[nn.Module]:
        """Yield the leaf modules that a sub-network runs, each once."""

    def path_parameters(self, architecture: Architecture) -> list[nn.Parameter]:
        """Return the parameters a sub-network uses."""
        return [p for module in self.path_modules(architecture) for p in module.parameters(recurse=False)]


class Sharing(nn.Module, ABC):
    """Owns the parameters of one cell's operations and lends them to edges.

    Operations are decoupled from the parameters they use: an edge has only an operation type, and the scheme decides
    which parameters run it.
    """

    @abstractmethod
    def operation(self, edge: int, option: int) -> nn.Module:
        """Return the module that runs an option on an edge."""


class ShareByPosition(Sharing):
    """The usual supernet: every edge of every cell owns one module per option.

    options: which options to hold for each edge; make: builds the module of an option.
    A stand-alone network is the same scheme with a single option per edge.
    """

    def __init__(self, options: list[list[int]], make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(nn.ModuleDict({str(o): make(o) for o in held}) for held in options)

    def operation(self, edge: int, option: int) -> nn.Module:
        held = self.edges[edge]
        assert isinstance(held, nn.ModuleDict)
        return held[str(option)]
