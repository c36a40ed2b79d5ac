"""Random crop, mirror and cutout, the views of contrastive learning, normalisation and resizing of images.

All are tensor operations on a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from supertau.estimators.problem import Augmentation, ImageSet
from supertau.search_spaces.errors import SupertauError

_RESIZE_CHUNK = 4096
_CROP_ATTEMPTS = 10
"""Sizes drawn per random resized crop before the whole image is used, as in torchvision."""
_ASPECT = (3 / 4, 4 / 3)
_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""


@dataclass(frozen=True)
class Distortion:
    """Random changes that make a view of an image for contrastive learning, drawn for each image separately.

    scale: share of the area that a resized crop keeps; flip: mirror with probability 1/2. brightness, contrast,
    saturation: largest relative change, hue: largest turn of the colour circle (at most 1/2), all four with probability
    `jitter`. grey, blur: probabilities of a greyscale image and of a Gaussian blur; sigma: its width in pixels.
    Probabilities and changes of 0 switch an operation off. An image without three channels has no colour to change:
    saturation, hue and grey are left out for it.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)


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
    """Return randomly changed images, uint8 (B, C, S, S) -> the same, each with changes of its own.

    Crop: the image is padded with pixels of value 0 (before normalisation, as in the usual CIFAR pipeline) and cut at
    an offset uniform in [0, 2 crop] per axis. Flip: mirrored left to right with probability 1/2. Cutout: a square,
    its centre uniform over the image and clipped at the borders (DeVries & Taylor 2017, section 3.2), gets the pixel
    value nearest to `mean`, which is 0 after normalisation, or 0 when no mean is given.

    generator: on the device of the images. The same state gives the same images.
    """
    if augmentation.crop or augmentation.flip:
        images = _crop_and_flip(images, augmentation.crop, augmentation.flip, generator)
    if augmentation.cutout:
        images = _cutout(images, augmentation.cutout, generator, mean)
    return images


def distort(images: torch.Tensor, distortion: Distortion, generator: torch.Generator) -> torch.Tensor:
    """Return a random view of each image, uint8 (B, C, S, S) -> the same, rounded once at the end.

    generator: on the device of the images. The same state gives the same views.
    """
    d = distortion
    with torch.autocast(images.device.type, enabled=False):  # products here are interpolations of pixels
        pixels = random_resized_crop(images.float() / 255, d.scale, d.flip, generator)
        pixels = colour_jitter(pixels, d.brightness, d.contrast, d.saturation, d.hue, d.jitter, generator)
        pixels = random_grey(pixels, d.grey, generator)
        pixels = gaussian_blur(pixels, d.sigma, d.blur, generator)
    return pixels.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def random_resized_crop(
    images: torch.Tensor, scale: tuple[float, float], flip: bool, generator: torch.Generator
) -> torch.Tensor:
    """Cut a random rectangle out of each image, float (B, C, S, S), enlarge it to S x S and mirror it half the time.

    The rectangle's area is uniform in `scale` times the image's, its ratio of sides log-uniform in [3/4, 4/3], its
    place uniform; bilinear, so that no pixel outside the rectangle is seen (Szegedy et al. 2015; torchvision's rules).
    """
    batch, side, device = len(images), images.shape[-1], images.device
    area = side**2 * _uniform(*scale, (_CROP_ATTEMPTS, batch), generator)
    ratio = _uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1]), (_CROP_ATTEMPTS, batch), generator).exp()
    sizes = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()]).round()  # heights, widths
    fits = ((sizes >= 1) & (sizes <= side)).all(0)
    first = fits.int().argmax(0).expand(2, 1, batch)
    size = torch.where(fits.any(0), sizes.gather(1, first)[:, 0], side)
    start = (_uniform(0, 1, (2, batch), generator) * (side - size + 1)).floor()
    steps = torch.arange(side, device=device)
    within = ((steps + 0.5) * (size / side)[..., None] - 0.5).clamp_min(0)
    at = start[..., None] + torch.minimum(within, size[..., None] - 1)
    if flip:
        mirrored = torch.rand((batch, 1), generator=generator, device=device) < 0.5
        at[1] = torch.where(mirrored, at[1].flip(1), at[1])
    # Row y of these matrices holds the bilinear weights of what becomes pixel y.
    rows, columns = (1 - (at[..., None] - steps).abs()).clamp_min(0)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def colour_jitter(
    images: torch.Tensor,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    probability: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Change the colours of images, float (B, C, S, S) in [0, 1], with a probability for each image.

    The first three multiply by a factor uniform in 1 +- the argument: the pixels, their distance to the image's mean
    grey value, their distance to their own grey value; hue turns the colour circle by up to +- the argument. Each image
    draws its own factors; the order of the four is drawn once per batch.
    """
    operations: list[tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], float, float]] = [
        (_brighten, max(0.0, 1 - brightness), 1 + brightness),
        (_contrast, max(0.0, 1 - contrast), 1 + contrast),
    ]
    if images.shape[1] == 3:
        operations += [(_saturate, max(0.0, 1 - saturation), 1 + saturation), (_turn_hue, -hue, hue)]
    operations = [operation for operation in operations if operation[1] < operation[2]]
    if not probability or not operations:
        return images
    shape = (len(images), 1, 1, 1)
    chosen = _uniform(0, 1, shape, generator) < probability
    changed = images
    for number in torch.randperm(len(operations), generator=generator, device=images.device).tolist():
        change, low, high = operations[number]
        changed = change(changed, _uniform(low, high, shape, generator)).clamp_(0, 1)
    return torch.where(chosen, changed, images)


def random_grey(images: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Give all channels of an image, float (B, C, S, S), its grey values, with a probability for each image."""
    if not probability or images.shape[1] != 3:
        return images
    chosen = _uniform(0, 1, (len(images), 1, 1, 1), generator) < probability
    return torch.where(chosen, _grey(images), images)


def gaussian_blur(
    images: torch.Tensor, sigma: tuple[float, float], probability: float, generator: torch.Generator
) -> torch.Tensor:
    """Blur images, float (B, C, S, S), with a width in pixels uniform in `sigma`, with a probability for each image.

    The Gaussian weights of the pixels inside the image are scaled to sum to 1, so that borders don't darken.
    """
    if not probability:
        return images
    shape = (len(images), 1, 1, 1)
    chosen = _uniform(0, 1, shape, generator) < probability
    width = _uniform(*sigma, shape, generator)
    steps = torch.arange(images.shape[-1], device=images.device)
    weights = (-((steps[:, None] - steps) ** 2) / (2 * width**2)).exp()
    weights = weights / weights.sum(3, keepdim=True)
    return torch.where(chosen, weights @ images @ weights.transpose(2, 3), images)


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


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def _grey(images: torch.Tensor) -> torch.Tensor:
    if images.shape[1] != 3:
        return images
    return (images * images.new_tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def _brighten(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return images * factor


def _contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return torch.lerp(_grey(images).mean((1, 2, 3), keepdim=True), images, factor)


def _saturate(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return torch.lerp(_grey(images), images, factor)


def _turn_hue(images: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Move each pixel's hue by a part of the circle; value and saturation (of HSV) stay."""
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    spread = value - images.amin(1)
    per = torch.where(spread > 0, spread, 1)
    sixths = torch.where(
        value == red,
        (green - blue) / per,
        torch.where(value == green, 2 + (blue - red) / per, 4 + (red - green) / per),
    )
    offsets = images.new_tensor((5, 3, 1)).view(3, 1, 1)
    k = (sixths[:, None] + 6 * turn + offsets) % 6
    return value[:, None] - spread[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)
