"""Plain types that every space, network and ground truth shares; this file imports none of them."""

from __future__ import annotations

from dataclasses import dataclass

from supertau.search_spaces.errors import SupertauError

Architecture = tuple[int, ...]
"""One small integer per decision of the space."""


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the networks of a space.

    channels: width C after the stem. cells: cells per stage (NAS-Bench-201: N). image_size: side in pixels.
    classes: outputs. image_channels: 1 (grey) or 3. The defaults are those of the NAS-Bench-201 benchmark.
    """

    channels: int = 16
    cells: int = 5
    image_size: int = 32
    classes: int = 10
    image_channels: int = 3

    def __post_init__(self) -> None:
        for name in ("channels", "cells", "image_size", "classes", "image_channels"):
            if getattr(self, name) < 1:
                raise SupertauError(f"network {name} must be at least 1, got {getattr(self, name)}.")


@dataclass(frozen=True)
class Cost:
    """Cost of a stand-alone network: parameters (count) and multiply-accumulates of one image (count)."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class FlowGraph:
    """The data flow of one kind of cell: what a graph encoder reads.

    nodes: how many nodes; inputs: the numbers of the cell's input nodes; edges: (source, target, option) in the order
    of the cell's edges, option None where nothing flows.
    """

    nodes: int
    inputs: tuple[int, ...]
    edges: tuple[tuple[int, int, int | None], ...]
