"""Images of a ranking problem: one set to train on, one to score with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from benchmarks.cache import cache_folder
from benchmarks.images.source import IMAGES, Loaded
from benchmarks.images.split import Size, split
from estimators.augment import resize
from estimators.problem import ImageSet
from search_spaces.errors import DataError


def load_problem_images(
    name: str,
    *,
    size: int | None = None,
    train: Size = None,
    validation: Size = None,
    seed: int = 0,
    validation_split: str = "train",
    data: Path | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Return training and validation images of a registered image set.

    size: side in pixels (None: native). train, validation: number (int) or share (float) of images, class-balanced;
    None: see `split`. seed: fixes which images. Both parts come out of the official training images, unless
    validation_split='test' asks for the official test images to score with; the name of that set then says so.
    data: the folder with the files (None: the cache folder). Raises UnknownName, and DataError for missing or damaged
    files and for sizes bigger than there are images.
    """
    if validation_split not in ("train", "test"):
        raise DataError(f"validation_split is 'train' or 'test', got '{validation_split}'.")
    source = IMAGES.resolve(name)
    folder = data if data is not None else cache_folder()
    official, labels = _read_once(name, "train", size, folder)
    held_out: Loaded | None = None
    if validation_split == "test":
        if "test" not in source.counts:
            raise DataError(f"images '{name}' have no official test split; leave validation_split at 'train'.")
        held_out = _read_once(name, "test", size, folder)

    def image_set(title: str, loaded: Loaded, rows: torch.Tensor) -> ImageSet:
        images, numbers = loaded
        return ImageSet(
            title, images[rows], numbers[rows], source.classes, source.mean, source.std,
            source().augmentation_at(images.shape[-1]),
        )

    if held_out is None:
        rows, other = (torch.from_numpy(part) for part in split(labels.numpy(), train, validation, seed))
        return image_set(name, (official, labels), rows), image_set(name, (official, labels), other)
    rows = _some(labels, train, seed, f"training images of '{name}'")
    other = _some(held_out[1], validation, seed, f"official test images of '{name}'")
    return (
        image_set(name, (official, labels), rows),
        image_set(f"{name} ({source.test_title})", held_out, other),
    )


@lru_cache(maxsize=4)
def _read_once(name: str, part: str, size: int | None, folder: Path) -> Loaded:
    source = IMAGES.resolve(name)()
    images, labels = source.load(part, folder)
    return resize(images, size or source.size), labels


def _some(labels: torch.Tensor, size: Size, seed: int, what: str) -> torch.Tensor:
    """Return class-balanced rows of one part on its own; None takes all."""
    available = len(labels)
    if size is None or size == available:
        return torch.arange(available)
    if not isinstance(size, float) and not 1 <= size <= available:
        raise DataError(f"{size} {what} were asked for, expected 1 to {available}.")
    return torch.from_numpy(split(labels.numpy(), size, None, seed)[0])
