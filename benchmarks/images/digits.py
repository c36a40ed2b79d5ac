"""scikit-learn's digits: 1,797 hand-written digits of 8x8 pixels, embedded in the installed package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from supertau.benchmarks.images.source import ImageSource, Loaded
from supertau.estimators.problem import Augmentation


class Digits(ImageSource):
    """The test set of the UCI optical digits (Alpaydin & Kaynak 1998), as scikit-learn ships it; needs no file.

    Pixels 0..16 are scaled to 0..255. There is no official test split: the package holds one set only.
    """

    name = "digits"
    title = "scikit-learn digits, 1,797 images 8x8, embedded"
    classes = 10
    size = 8
    channels = 1
    mean = (0.3053,)
    std = (0.3760,)
    # A mirrored 2 is no digit, and two pixels are a quarter of the image.
    augmentation = Augmentation(crop=1, flip=False)
    counts = {"train": 1797}  # noqa: RUF012

    def read(self, split: str, folder: Path) -> Loaded:
        """Return all 1,797 images; the folder is not used."""
        # scikit-learn is slow to import, and nothing else needs it.
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        pixels = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        return torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))
