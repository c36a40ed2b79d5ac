"""Random crop, mirror and cutout, normalisation and resizing of images, as tensor operations on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F

from estimators.problem import Augmentation, ImageSet
from search_spaces.errors import SupertauError

_RESIZE_CHUNK = 4096


def take(
    images: ImageSet,
    rows: torch.Tensor,
    generator: torch.Generator | None = None,
    augmentation: Augmentation | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalised float32 images (B, C, S, S) and int64 labels (B,) of some rows of a set.

    With a generator (on the set's device) the images are augmented, as is usual for the set or as given; without one
    they are left as they are.
    """
    rows = rows.to(images.images.device)
    batch = images.images[rows]
    if generator is not None:
        batch = augment(batch, augmentation or images.augmentation, generator, images.mean)
    return normalise(batch, images.mean, images.std), images.labels[rows]


def normalise(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return (pixel / 255 - mean) / std per channel: uint8 (B, C, S, S) -> float32, in channels_last memory format."""
    batch, channels, height, width = images.shape
    if len(mean) != channels or len(std) != channels:
        raise SupertauError(f"{channels} channels, but {len(mean)} means and {len(std)} standard deviations.")
    scale, shift = _affine(tuple(mean), tuple(std), width, images.device)
    # A contiguous row of interleaved channels lets one fused multiply-add run over long vectors.
    lines = images.permute(0, 2, 3, 1).contiguous().view(batch, height, width * channels)
    return lines.float().mul_(scale).add_(shift).view(batch, height, width, channels).permute(0, 3, 1, 2)


def augment(
    images: torch.Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    mean: Sequence[float] | None = None,
) -> torch.Tensor:
    """Return randomly changed images, uint8 (B, C, S, S) -> the same; every image draws its own change.

    Crop: the image is padded with pixels of value 0 (before normalisation, as in the usual CIFAR pipeline) and cut at
    an offset uniform in [0, 2 crop] per axis. Flip: mirrored left to right with probability 1/2. Cutout: a square,
    its centre uniform over the image and clipped at the borders (DeVries & Taylor 2017, section 3.2), takes the pixel
    value nearest to `mean`, which is 0 after normalisation, or 0 when no mean is given.

    generator: on the device of the images. The same state gives the same images.
    """
    if augmentation.crop or augmentation.flip:
        images = _crop_and_flip(images, augmentation.crop, augmentation.flip, generator)
    if augmentation.cutout:
        images = _cutout(images, augmentation.cutout, generator, mean)
    return images


def resize(images: torch.Tensor, size: int) -> torch.Tensor:
    """Return images of another side, uint8 (N, C, S, S) -> uint8 (N, C, size, size), rounded to the nearest value.

    A side that divides S averages blocks, as the down-sampled ImageNet does (Chrabaszcz et al. 2017, 'box'); any
    other is bilinear with antialiasing.
    """
    if size < 1:
        raise SupertauError(f"image size must be at least 1 pixel, got {size}.")
    side = images.shape[-1]
    if size == side:
        return images
    resized = [_resize(chunk, size) for chunk in images.split(_RESIZE_CHUNK)]
    return torch.cat(resized) if resized else images.new_empty((0, images.shape[1], size, size))


def _resize(images: torch.Tensor, size: int) -> torch.Tensor:
    if images.shape[-1] % size == 0:
        resized = F.interpolate(images.float(), size=size, mode="area")
    else:
        resized = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=32)
def _affine(
    mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and shift of a line of interleaved channels, so that pixel * scale + shift is normalised."""
    if min(std) <= 0:
        raise SupertauError(f"standard deviations must be positive, got {std}.")
    scale = [1 / (255 * s) for s in std] * width
    shift = [-m / s for m, s in zip(mean, std, strict=True)] * width
    return torch.tensor(scale, device=device), torch.tensor(shift, device=device)


def _crop_and_flip(images: torch.Tensor, crop: int, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Cut and mirror in one gather over the padded pixels."""
    batch, channels, side, _ = images.shape
    device = images.device
    padded_side = side + 2 * crop
    steps = torch.arange(side, device=device)
    offsets = torch.randint(2 * crop + 1, (2, batch, 1), generator=generator, device=device)
    rows, columns = offsets[0] + steps, offsets[1] + steps
    if flip:
        mirrored = torch.randint(2, (batch, 1), generator=generator, device=device).bool()
        columns = torch.where(mirrored, columns.flip(1), columns)
    index = (rows[:, :, None] * padded_side + columns[:, None, :]).view(batch, 1, side * side)
    padded = F.pad(images, (crop, crop, crop, crop)).reshape(batch, channels, padded_side * padded_side)
    return padded.gather(2, index.expand(batch, channels, side * side)).view(batch, channels, side, side)


def _cutout(
    images: torch.Tensor, length: int, generator: torch.Generator, mean: Sequence[float] | None
) -> torch.Tensor:
    batch, channels, side, _ = images.shape
    device = images.device
    start = torch.randint(side, (2, batch, 1), generator=generator, device=device) - length // 2
    steps = torch.arange(side, device=device)
    inside = (steps >= start) & (steps < start + length)
    square = inside[0, :, None, :, None] & inside[1, :, None, None, :]
    fill = [round(255 * m) for m in mean] if mean is not None else [0] * channels
    return torch.where(square, torch.tensor(fill, dtype=torch.uint8, device=device).view(1, channels, 1, 1), images)
