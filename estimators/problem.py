"""What an estimator is given: a space, images to train on, images to score with. Never the ground truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from supertau.estimators.training.processes import ALONE, Processes
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import NetworkConfig, SearchSpace


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images: zero-padded crop by at most `crop` pixels, mirror, square cutout of a side.

    A side or padding of 0 and flip False switch the change off.
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in memory.

    images: (N, C, S, S) uint8; labels: (N,) int64 in range(classes); mean, std: per channel, in units of pixel/255;
    augmentation: what is usual for this kind of image when training.
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[2] != self.images.shape[3]:
            raise SupertauError(
                f"images '{self.name}': expected uint8 of shape (N, C, S, S), got {self.images.dtype} "
                f"{tuple(self.images.shape)}."
            )
        if self.labels.shape != (len(self.images),) or self.labels.dtype != torch.int64:
            raise SupertauError(f"images '{self.name}': expected one int64 label per image.")

    def __len__(self) -> int:
        return len(self.images)

    def network(self, channels: int, cells: int) -> NetworkConfig:
        """Return the size of networks for these images, of a width and a number of cells per stage."""
        return NetworkConfig(channels, cells, self.images.shape[-1], self.classes, self.images.shape[1])

    def to(self, device: torch.device) -> ImageSet:
        """Return the set with its tensors on a device."""
        return ImageSet(
            self.name,
            self.images.to(device),
            self.labels.to(device),
            self.classes,
            self.mean,
            self.std,
            self.augmentation,
        )

    def subset(self, rows: torch.Tensor) -> ImageSet:
        """Return the images of some rows, in their order."""
        rows = rows.to(self.images.device)
        return ImageSet(
            self.name, self.images[rows], self.labels[rows], self.classes, self.mean, self.std, self.augmentation
        )


@dataclass(frozen=True, eq=False)
class Problem:
    """A ranking problem as an estimator sees it.

    train: for gradients and for recalibrating batch norms; validation: for scoring only; network: size of the
    supernet; device: where everything runs; seed: source of every random number of the run; processes: this process
    among those that train together, each on a device of its own; scoring_memory: roughly how many MB the sub-networks
    that are scored together may use (a single one uses what it needs). The default is about the fastest on a CPU:
    beyond it, memory traffic costs more than sharing saves.
    """

    space: SearchSpace
    network: NetworkConfig
    train: ImageSet
    validation: ImageSet
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    processes: Processes = ALONE
    scoring_memory: int = 540
