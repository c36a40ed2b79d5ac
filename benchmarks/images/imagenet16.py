"""ImageNet16-120 (Chrabaszcz et al. 2017; Dong & Yang 2020): the first 120 classes of ImageNet at 16x16 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from supertau.benchmarks.data.catalogue import DATA
from supertau.benchmarks.images.batches import Batch, read_batch
from supertau.benchmarks.images.source import ImageSource, Loaded
from supertau.estimators.problem import Augmentation
from supertau.search_spaces.errors import DataError


class ImageNet16(ImageSource):
    """Reads the official batches of 16x16 ImageNet and keeps the labels 1..120, as classes 0..119.

    Ten training batches, and ``val_data``, which NAS-Bench-201 halves into its validation and test images.
    """

    name = "imagenet16-120"
    title = "ImageNet16-120, 151,700 + 6,000 images 16x16"
    classes = 120
    size = 16
    channels = 3
    # As NAS-Bench-201 normalises its training images.
    mean = (122.68 / 255, 116.66 / 255, 104.01 / 255)
    std = (63.22 / 255, 61.26 / 255, 65.09 / 255)
    augmentation = Augmentation(crop=2, flip=True)
    counts = {"train": 151_700, "test": 6_000}  # noqa: RUF012
    test_title = "official validation images"
    folders: ClassVar[tuple[str, ...]] = ("imagenet16-120", "ImageNet16")
    batches: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": tuple(f"train_data_batch_{n}" for n in range(1, 11)),
        "test": ("val_data",),
    }
    checksums: ClassVar[dict[str, str]] = {
        Path(file.path).name: (file.checksum or "").removeprefix("md5:") for file in DATA["imagenet16-120"].files
    }
    fetch = "Get the 16x16 Python batches anew; 'supertau data fetch imagenet16-120' says from where and where to."

    def files(self, split: str, folder: Path) -> list[Path]:
        """Return the batches of a split; raise DataError when one is missing."""
        names = self.batches[split]
        for place in (folder / name for name in self.folders):
            files = [place / name for name in names]
            absent = [file.name for file in files if not file.is_file()]
            if not absent:
                return files
            if len(absent) < len(files):
                raise DataError(f"{place} is not complete: {', '.join(absent)} missing. {self.fetch}")
        raise DataError(
            f"images '{self.name}' ({split}): expected {names[0]}{' to ' + names[-1] if names[1:] else ''} in "
            f"{folder / self.folders[0]}. {self.fetch}"
        )

    def has_checksums(self, split: str, folder: Path) -> bool:
        """Return True: every file has one."""
        return True

    def read(self, split: str, folder: Path) -> Loaded:
        """Return the images and labels of a split, in the order of the batches."""
        parts = [self._first_classes(path) for path in self.files(split, folder)]
        images = np.concatenate([data for data, _ in parts]).reshape(-1, self.channels, self.size, self.size)
        return torch.from_numpy(images), torch.from_numpy(np.concatenate([labels for _, labels in parts]))

    def _first_classes(self, path: Path) -> Batch:
        data, labels = read_batch(
            path.read_bytes(),
            str(path),
            pixels=self.channels * self.size**2,
            label_keys=("labels",),
            md5=self.checksums.get(path.name),
            again=self.fetch,
        )
        if len(labels) and not 1 <= int(labels.min()) <= int(labels.max()) <= 1000:
            raise DataError(f"{path}: expected labels 1..1000, got {labels.min()}..{labels.max()}. {self.fetch}")
        kept = labels <= self.classes
        return data[kept], labels[kept] - 1
