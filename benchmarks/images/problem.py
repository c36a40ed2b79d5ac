"""Images of a ranking problem: one set to train on, one to score with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from supertau.benchmarks.images.registry import IMAGES
from supertau.benchmarks.images.source import Loaded
from supertau.benchmarks.images.split import Rows, Size, choose, split
from supertau.estimators.problem import ImageSet
from supertau.estimators.training.augmentation import resize
from supertau.search_spaces.cache import cache_folder
from supertau.search_spaces.errors import DataError


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
    None: see `split`. seed: decides which images. Both parts are taken from the official training images. With
    validation_split='test' the second part is taken from the official test images, and its name says so.
    data: the folder with the files (None: the cache folder). Raises UnknownName, and DataError for missing or damaged
    files and for sizes that are larger than there are images.
    """
    if validation_split not in ("train", "test"):
        raise DataError(f"validation_split is 'train' or 'test', got '{validation_split}'.")
    source = IMAGES.resolve(name)()
    folder = data if data is not None else cache_folder()
    if validation_split == "test" and "test" not in source.counts:
        raise DataError(f"images '{name}' have no official test split; leave validation_split at 'train'.")

    def image_set(title: str, part: str, rows: Rows) -> ImageSet:
        images, labels = _read_once(name, part, size, folder)
        chosen = torch.from_numpy(rows)
        return ImageSet(
            title,
            images[chosen],
            labels[chosen],
            source.classes,
            source.mean,
            source.std,
            source.augmentation_at(images.shape[-1]),
        )

    labels = _read_once(name, "train", size, folder)[1].numpy()
    if validation_split == "train":
        rows, held_out = split(labels, train, validation, seed)
        return image_set(source.name, "train", rows), image_set(source.name, "train", held_out)
    test_labels = _read_once(name, "test", size, folder)[1].numpy()
    return (
        image_set(source.name, "train", choose(labels, train, seed)),
        image_set(f"{source.name} ({source.test_title})", "test", choose(test_labels, validation, seed)),
    )


@lru_cache(maxsize=4)
def _read_once(name: str, part: str, size: int | None, folder: Path) -> Loaded:
    source = IMAGES.resolve(name)()
    images, labels = source.load(part, folder)
    return resize(images, size or source.size), labels
