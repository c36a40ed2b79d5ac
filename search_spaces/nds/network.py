"""Networks of NDS: blocks that run at their own size or at a smaller one, a stand-alone network and a supernet.

The supernet holds every block once, at the largest width, bottleneck width and depth. A path uses the leading channels
of each kernel and batch norm ("ordinal" slices) and the leading blocks of each stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from supertau.search_spaces.architecture import Architecture, NetworkConfig
from supertau.search_spaces.layers import BatchNorm2d, pointwise
from supertau.search_spaces.nds.blocks import STRIDES, Block, BlockSpace, Stage
from supertau.search_spaces.supernet import Edge, MakeSharing, ShareByPosition, Sharing, Slot, Supernet, leaves


class Sizes(NamedTuple):
    """Channels that leave a block, channels inside it, groups of its 3x3 convolution (the latter two: bottlenecks)."""

    width: int
    inner: int
    groups: int


def _sizes(stage: Stage) -> Sizes:
    return Sizes(stage.width, stage.inner, stage.groups)


class LeadingConv2d(nn.Conv2d):
    """Convolution without bias that also runs with fewer channels: with the leading part of its kernel.

    Run in g groups, a dense kernel is cut to its leading (width, narrow) part and of that to g diagonal blocks: group
    k uses the rows and columns of its own channels.
    """

    def forward(self, states: torch.Tensor, width: int | None = None, groups: int | None = None) -> torch.Tensor:
        """Return (B, width, H', W') of states (B, narrow, H, W); by default as many channels and groups as built."""
        narrow, width, groups = states.shape[1], width or self.out_channels, groups or self.groups
        kernel = self.weight
        if (narrow, width, groups) != (self.in_channels, self.out_channels, self.groups):
            assert self.groups == 1, "only a dense kernel can be cut"
            rows, columns = width // groups, narrow // groups
            blocks = [kernel[k * rows : (k + 1) * rows, k * columns : (k + 1) * columns] for k in range(groups)]
            kernel = blocks[0] if groups == 1 else torch.cat(blocks)
        if self.kernel_size == (1, 1) and groups == 1:
            return pointwise(states, kernel, self.stride[0])
        return functional.conv2d(states, kernel, None, self.stride, self.padding, groups=groups)


class ConvBN(nn.Module):
    """Convolution without bias and batch norm."""

    def __init__(self, narrow: int, width: int, kernel: int, stride: int = 1, groups: int = 1, *, affine: bool) -> None:
        super().__init__()
        self.conv = LeadingConv2d(narrow, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = BatchNorm2d(width, affine=affine)

    def forward(self, states: torch.Tensor, width: int, groups: int = 1) -> torch.Tensor:
        """Return as many channels as width says."""
        output: torch.Tensor = self.norm(self.conv(states, width, groups))
        return output


class ThreeByThrees(nn.Module):
    """3x3, 3x3, ReLU between."""

    def __init__(self, narrow: int, sizes: Sizes, stride: int, *, affine: bool) -> None:
        super().__init__()
        self.first = ConvBN(narrow, sizes.width, 3, stride, affine=affine)
        self.relu = nn.ReLU()
        self.second = ConvBN(sizes.width, sizes.width, 3, affine=affine)

    def forward(self, states: torch.Tensor, sizes: Sizes) -> torch.Tensor:
        output: torch.Tensor = self.second(self.relu(self.first(states, sizes.width)), sizes.width)
        return output


class Bottleneck(nn.Module):
    """1x1, 3x3 in groups, 1x1, ReLU between; the stride is in the 3x3."""

    def __init__(self, narrow: int, sizes: Sizes, stride: int, *, affine: bool) -> None:
        super().__init__()
        self.first = ConvBN(narrow, sizes.inner, 1, affine=affine)
        self.first_relu = nn.ReLU()
        self.second = ConvBN(sizes.inner, sizes.inner, 3, stride, sizes.groups, affine=affine)
        self.second_relu = nn.ReLU()
        self.third = ConvBN(sizes.inner, sizes.width, 1, affine=affine)

    def forward(self, states: torch.Tensor, sizes: Sizes) -> torch.Tensor:
        inside = self.first_relu(self.first(states, sizes.inner))
        inside = self.second_relu(self.second(inside, sizes.inner, sizes.groups))
        output: torch.Tensor = self.third(inside, sizes.width)
        return output


class NDSBlock(nn.Module):
    """A block: convolutions, plus a shortcut unless it is plain, ReLU.

    project: whether the shortcut is a 1x1 convolution with batch norm; otherwise it is the identity.
    """

    def __init__(
        self, kind: Block, narrow: int, sizes: Sizes, stride: int = 1, *, project: bool = False, affine: bool = True
    ) -> None:
        super().__init__()
        self.kind, self.sizes = kind, sizes
        body = Bottleneck if kind == "bottleneck" else ThreeByThrees
        self.body = body(narrow, sizes, stride, affine=affine)
        self.shortcut = None
        if project and kind != "plain":
            self.shortcut = ConvBN(narrow, sizes.width, 1, stride, affine=affine)
        self.relu = nn.ReLU()

    def forward(self, states: torch.Tensor, *sizes: int) -> torch.Tensor:
        """Return (B, width, H', W'); sizes: those of `Sizes` to run at, by default those it was built with."""
        run_at = Sizes(*sizes) if sizes else self.sizes
        output: torch.Tensor = self.body(states, run_at)
        if self.kind != "plain":
            output = output + (states if self.shortcut is None else self.shortcut(states, run_at.width))
        activated: torch.Tensor = self.relu(output)
        return activated


class Stem(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, config: NetworkConfig) -> None:
        width = config.channels
        super().__init__(
            nn.Conv2d(config.image_channels, width, 3, padding=1, bias=False), BatchNorm2d(width), nn.ReLU()
        )


class Head(nn.Sequential):
    """Global average pooling."""

    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class NDSNetwork(nn.Module):
    """The stand-alone network: ``network(images)``, with a projection only where width or stride changes.

    images: (B, image_channels, S, S); logits: (B, classes).
    """

    def __init__(self, space: BlockSpace, architecture: Architecture, config: NetworkConfig) -> None:
        super().__init__()
        self.architecture, self.config = architecture, config
        self.stem = Stem(config)
        width, stages = config.channels, []
        for stage, stride in zip(space.stages(architecture, config), STRIDES, strict=True):
            sizes = _sizes(stage)
            first = NDSBlock(space.block, width, sizes, stride, project=width != sizes.width or stride != 1)
            width = sizes.width
            stages.append(nn.Sequential(first, *(NDSBlock(space.block, width, sizes) for _ in range(stage.depth - 1))))
        self.stages = nn.Sequential(*stages)
        self.head = Head()
        self.classifier = nn.Linear(width, config.classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.head(self.stages(self.stem(images))))
        return logits


class Step(NamedTuple):
    """A block, the sizes it runs at, and the number of the state that enters it."""

    block: nn.Module
    sizes: Sizes
    source: int


class SharedStage(nn.Module):
    """One stage of the supernet: a first block of its own, then positions whose blocks a sharing scheme lends.

    The first block has the stride and always a projection (unless plain). Positions are counted from 1; position p is
    edge and slot p - 1, the same in every stage.
    """

    def __init__(self, first: NDSBlock, sharing: Sharing) -> None:
        super().__init__()
        self.first, self.sharing = first, sharing

    def forward(self, states: torch.Tensor, architecture: Architecture, stage: Stage) -> torch.Tensor:
        sizes = _sizes(stage)
        states = self.first(states, *sizes)
        for position in range(1, stage.depth):
            states = self.sharing.run(architecture, _edge(position), states, *sizes)
        return states

    def block(self, architecture: Architecture, position: int) -> nn.Module:
        """Return the block at a position, 0 being the first, when an architecture is scored."""
        return self.first if position == 0 else self.sharing.operation(architecture, _edge(position))

    def forward_many(
        self,
        states: list[torch.Tensor],
        rows: list[int],
        architectures: Sequence[Architecture],
        stages: Sequence[Stage],
    ) -> tuple[list[torch.Tensor], list[int]]:
        """Return the distinct outputs of this stage of several networks, and for each network which is its own.

        states: the distinct inputs; rows: which of them enters each network's stage. A block that several networks run
        on the same state at the same sizes is run once. Different states are not stacked: few networks have the sizes
        of a later stage in common but not the earlier stages, so it saves no time, and the batch size can change the
        last digit of a convolution.
        """
        for position in range(max(stage.depth for stage in stages)):
            reached: list[Step | int] = [
                Step(self.block(architecture, position), _sizes(stage), row) if position < stage.depth else row
                for architecture, stage, row in zip(architectures, stages, rows, strict=True)
            ]
            distinct = list(dict.fromkeys(reached))
            # Only what some network has reached is kept: with the states of all positions memory would run out.
            states = [
                step.block(states[step.source], *step.sizes) if isinstance(step, Step) else states[step]
                for step in distinct
            ]
            number = {step: at for at, step in enumerate(distinct)}
            rows = [number[step] for step in reached]
        return states, rows


def _edge(position: int) -> Edge:
    return Edge(position - 1, position - 1, 0)


class NDSSupernet(Supernet):
    """Stem, three stages of the largest blocks, global pooling, classifier of the largest width.

    affine: whether batch norms of the stages have weight and bias (the stem's has). sharing: makes, per stage, the
    owner of the blocks at the positions after the first, one slot each, whose modules are run as
    ``block(states, width, inner, groups)``. Features of narrower paths are padded with zeros, so that they use the
    leading columns of the classifier.
    """

    def __init__(
        self, space: BlockSpace, config: NetworkConfig, *, affine: bool = False, sharing: MakeSharing = ShareByPosition
    ) -> None:
        super().__init__()
        self.space, self.config = space, config
        largest = space.largest(config)
        sizes = _sizes(largest)

        def make(_option: int, _form: int) -> nn.Module:
            return NDSBlock(space.block, sizes.width, sizes, affine=affine)

        self.stem = Stem(config)
        narrow, stages = config.channels, []
        for stride in STRIDES:
            first = NDSBlock(space.block, narrow, sizes, stride, project=True, affine=affine)
            stages.append(SharedStage(first, sharing([Slot((0,))] * (largest.depth - 1), make)))
            narrow = sizes.width
        self.stages = nn.ModuleList(stages)
        self.head = Head()
        self.classifier = nn.Linear(sizes.width, config.classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        states = self.stem(images)
        for shared, stage in zip(self.stages, self.space.stages(architecture, self.config), strict=True):
            states = shared(states, architecture, stage)
        return self._pooled(states)

    def forward_many(self, images: torch.Tensor, architectures: Sequence[Architecture]) -> torch.Tensor:
        states, rows = [self.stem(images)], [0] * len(architectures)
        of_all = zip(*(self.space.stages(architecture, self.config) for architecture in architectures), strict=True)
        for shared, stages in zip(self.stages, of_all, strict=True):
            assert isinstance(shared, SharedStage)
            states, rows = shared.forward_many(states, rows, architectures, stages)
        logits = [self.classifier(self._pooled(state)) for state in states]
        return torch.stack([logits[row] for row in rows])

    def path_modules(self, architecture: Architecture) -> Iterator[nn.Module]:
        """Yield the whole leaf modules of which a path uses the leading part."""
        yield from leaves(self.stem)
        for shared, stage in zip(self.stages, self.space.stages(architecture, self.config), strict=True):
            assert isinstance(shared, SharedStage)
            for block in dict.fromkeys(shared.block(architecture, position) for position in range(stage.depth)):
                yield from leaves(block)
        yield from leaves(self.head)
        yield self.classifier

    def _pooled(self, states: torch.Tensor) -> torch.Tensor:
        return functional.pad(self.head(states), (0, self.classifier.in_features - states.shape[1]))
