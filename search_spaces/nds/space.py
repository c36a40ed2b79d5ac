"""NDS: networks of three stages of equal blocks (Radosavovic et al., On Network Design Spaces, ICCV 2019).

An architecture holds, stage by stage, the width, in ResNeXt the bottleneck multiplier and the groups, and the depth,
each as an index into the space's grid. In lexicographic order neighbours then have their first stages in common, and
within a stage the leading blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from supertau.search_spaces.architecture import Architecture, NetworkConfig
from supertau.search_spaces.nds.blocks import STRIDES, BlockSpace, Grid
from supertau.search_spaces.nds.truth import load
from supertau.search_spaces.truth import GroundTruth

if TYPE_CHECKING:  # these import torch, which only commands that train should do
    from supertau.search_spaces.nds.network import NDSNetwork, NDSSupernet
    from supertau.search_spaces.supernet import MakeSharing


class NDS(BlockSpace):
    """What the spaces have in common; a space names its block and its grids."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.choices = tuple(len(grid) for grid in cls.grids.values()) * len(STRIDES)
        cls.chain = int(max(cls.grids["d"])) - 1  # the first block of a stage is its own

    def supernet(
        self, config: NetworkConfig, *, affine: bool = False, sharing: MakeSharing | None = None
    ) -> NDSSupernet:
        """Return the supernet; by default every position of a stage owns its block."""
        # Imported here because of torch, which only commands that train should import.
        from supertau.search_spaces.nds.network import NDSSupernet
        from supertau.search_spaces.supernet import ShareByPosition

        return NDSSupernet(self, config, affine=affine, sharing=sharing or ShareByPosition)

    def network(self, architecture: Architecture, config: NetworkConfig) -> NDSNetwork:
        """Return the stand-alone network, batch norms affine."""
        from supertau.search_spaces.nds.network import NDSNetwork  # as in `supernet`

        return NDSNetwork(self, architecture, config)

    def truth(
        self,
        dataset: str,
        path: Path | None = None,
        *,
        split: str | None = None,
        epochs: int | None = None,
        trust_pickle: bool = False,
    ) -> GroundTruth:
        """Return 100-epoch test accuracies of official files or of a pool, or the accuracies of a table.

        NDS has accuracies on CIFAR-10's test images only, split 'test'; to ask for another split or length raises
        DataError.
        """
        return load(self, dataset, path, split=split, epochs=epochs, trust_pickle=trust_pickle)


_DEPTHS: Grid = (1, 2, 3, 4, 6, 8, 12, 16, 24)
_WIDTHS: Grid = (16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)
_NEXT_DEPTHS: Grid = (1, 2, 4, 8, 16)


class NDSResNet(NDS):
    """Residual blocks of two 3x3 convolutions: (9 * 12)^3 = 1,259,712 networks."""

    name = "nds-resnet"
    title = "NDS ResNet"
    block = "basic"
    grids = {"w": _WIDTHS, "d": _DEPTHS}  # noqa: RUF012
    official, official_block = "ResNet", "res_basic_block"
    truths = ("micro",)


class NDSResNeXtA(NDS):
    """Bottlenecks with few groups: (5 * 5 * 3 * 3)^3 = 11,390,625 networks."""

    name = "nds-resnexta"
    title = "NDS ResNeXt-A"
    block = "bottleneck"
    grids = {"w": (16, 32, 64, 128, 256), "b": (0.25, 0.5, 1), "g": (1, 2, 4), "d": _NEXT_DEPTHS}  # noqa: RUF012
    official, official_block = "ResNeXt-A", "res_bottleneck_block"
    truths = ("micro",)


class NDSResNeXtB(NDS):
    """Wider bottlenecks with more groups: (5 * 5 * 3 * 5)^3 = 52,734,375 networks."""

    name = "nds-resnextb"
    title = "NDS ResNeXt-B"
    block = "bottleneck"
    grids = {"w": (64, 128, 256, 512, 1024), "b": (0.25, 0.5, 1), "g": (1, 2, 4, 8, 16), "d": _NEXT_DEPTHS}  # noqa: RUF012
    official, official_block = "ResNeXt-B", "res_bottleneck_block"


class NDSVanilla(NDS):
    """Blocks of two 3x3 convolutions without shortcut, on the grids of ResNet: 1,259,712 networks."""

    name = "nds-vanilla"
    title = "NDS Vanilla"
    block = "plain"
    grids = {"w": _WIDTHS, "d": _DEPTHS}  # noqa: RUF012
    official, official_block = "Vanilla", "double_plain_block"
