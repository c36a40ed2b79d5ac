"""An image source: how one kind of image is read, and its usual normalisation and augmentation."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch

from supertau.estimators.problem import Augmentation
from supertau.search_spaces.errors import DataError

Loaded = tuple[torch.Tensor, torch.Tensor]
"""Images (N, C, S, S) uint8 and labels (N,) int64."""


class ImageSource(ABC):
    """Reads one kind of image from the cache folder. Subclasses set the class variables and implement `read`.

    size: native side in pixels; mean, std: per channel at the native size, in units of pixel/255; counts: number of
    images of each official split, 'train' first; test_title: name of the official test split in records; fetch:
    how the user gets the files, a sentence for errors.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    classes: ClassVar[int]
    size: ClassVar[int]
    channels: ClassVar[int]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    augmentation: ClassVar[Augmentation]
    counts: ClassVar[dict[str, int]]
    test_title: ClassVar[str] = "official test split"
    fetch: ClassVar[str] = ""

    @abstractmethod
    def read(self, split: str, folder: Path) -> Loaded:
        """Return the images and labels of an official split; raise DataError for a missing or damaged file."""

    def files(self, split: str, folder: Path) -> list[Path]:
        """Return the files `read` would read, [] when none are needed; raise DataError when one is missing."""
        return []

    def has_checksums(self, split: str, folder: Path) -> bool:
        """Return whether the files of a split have known checksums, which `read` then enforces."""
        return False

    def missing(self, folder: Path) -> str | None:
        """Return what is not there and how to get it, or None when every split has its files."""
        try:
            for split in self.counts:
                self.files(split, folder)
        except DataError as error:
            return str(error)
        return None

    def load(self, split: str, folder: Path) -> Loaded:
        """Read a split and check it: shapes, types, labels in range(classes)."""
        if split not in self.counts:
            have = ", ".join(f"'{s}'" for s in self.counts)
            raise DataError(f"images '{self.name}' have no official split '{split}'; there is {have}.")
        images, labels = self.read(split, folder)
        expected = (self.channels, self.size, self.size)
        if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise DataError(
                f"images '{self.name}' ({split}) in {folder}: expected uint8 of shape (N, {self.channels}, "
                f"{self.size}, {self.size}), got {images.dtype} {tuple(images.shape)}. {self.fetch}"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise DataError(
                f"images '{self.name}' ({split}) in {folder}: {len(images)} images, but labels of type {labels.dtype} "
                f"and shape {tuple(labels.shape)}. {self.fetch}"
            )
        if len(labels) == 0 or int(labels.min()) < 0 or int(labels.max()) >= self.classes:
            raise DataError(
                f"images '{self.name}' ({split}) in {folder}: expected labels 0..{self.classes - 1}, got "
                f"{f'{int(labels.min())}..{int(labels.max())}' if len(labels) else 'no image at all'}. {self.fetch}"
            )
        if len(images) != self.counts[split]:
            warnings.warn(
                f"images '{self.name}' ({split}) in {folder}: {len(images):,} images, the official split has "
                f"{self.counts[split]:,}; results are not comparable with others.",
                stacklevel=2,
            )
        return images, labels

    def augmentation_at(self, size: int) -> Augmentation:
        """Return the usual augmentation for images of another side: lengths scale with the side, down to one pixel."""

        def scaled(length: int) -> int:
            return max(1, round(length * size / self.size)) if length else 0

        return replace(self.augmentation, crop=scaled(self.augmentation.crop), cutout=scaled(self.augmentation.cutout))
