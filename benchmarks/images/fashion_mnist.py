"""Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 grey images of 28x28 pixels, in four IDX files."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from supertau.benchmarks.images.source import ImageSource, Loaded
from supertau.estimators.problem import Augmentation
from supertau.search_spaces.cache import WrongChecksum
from supertau.search_spaces.errors import DataError

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the four files."""

_UNSIGNED_BYTE = 8
_PREFIX = {"train": "train", "test": "t10k"}


class FashionMnist(ImageSource):
    """Files ``fashion-mnist/*-ubyte`` or ``*-ubyte.gz`` in the cache folder, or those of the Debian package.

    Mean and standard deviation are those of the 60,000 training images.
    """

    name = "fashion-mnist"
    title = "Fashion-MNIST, 60,000 + 10,000 images 28x28"
    classes = 10
    size = 28
    channels = 1
    mean = (0.2860,)
    std = (0.3530,)
    augmentation = Augmentation(crop=2, flip=True)
    counts = {"train": 60_000, "test": 10_000}  # noqa: RUF012
    # SHA-256 of the uncompressed content: the files may be compressed by anyone, or not at all. MNIST's digits, whose
    # files have the same names and shapes, do not pass.
    checksums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }
    fetch = (
        "Run 'supertau data fetch fashion-mnist', or install Debian's package dataset-fashion-mnist, "
        "or put the four files into fashion-mnist/ of the cache folder."
    )

    def files(self, split: str, folder: Path) -> list[Path]:
        """Return the image and the label file of a split; raise DataError when one is missing."""
        names = (f"{_PREFIX[split]}-images-idx3-ubyte", f"{_PREFIX[split]}-labels-idx1-ubyte")
        places = (folder / "fashion-mnist", DEBIAN_FOLDER)
        for place in places:
            matches = [next((p for p in (place / n, place / f"{n}.gz") if p.is_file()), None) for n in names]
            present = [path for path in matches if path is not None]
            if len(present) == len(names):
                return present
        raise DataError(
            f"images '{self.name}' ({split}): expected {names[0]} and {names[1]} (or .gz) in one of "
            f"{', '.join(map(str, places))}. {self.fetch}"
        )

    def has_checksums(self, split: str, folder: Path) -> bool:
        """Return True: every file has one."""
        return True

    def read(self, split: str, folder: Path) -> Loaded:
        """Return the images and labels of a split."""
        image_file, label_file = self.files(split, folder)
        images = read_idx(image_file, 3, self.fetch, self.checksums)
        labels = read_idx(label_file, 1, self.fetch, self.checksums)
        return torch.from_numpy(images[:, None]), torch.from_numpy(labels.astype(np.int64))


def read_idx(path: Path, dimensions: int, again: str, checksums: Mapping[str, str]) -> npt.NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes, compressed when its name ends in .gz.

    Format: two zero bytes, type, number of dimensions, the lengths as big-endian uint32, the values (LeCun, MNIST).
    again: how to get the file again, a sentence for errors. checksums: SHA-256 of the uncompressed content, by name of
    the file without .gz. Raises DataError for a damaged or truncated file and for one of another type or dimension, and
    WrongChecksum.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read, perhaps it is truncated: {error}. {again}") from error
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    start = 4 + 4 * dimensions
    if content[:4] != magic or len(content) < start:
        raise DataError(
            f"{path} is not an IDX file of unsigned bytes with {dimensions} dimensions: expected it to begin with "
            f"{magic.hex()}, got {content[:4].hex() or 'nothing'}. {again}"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4))
    if len(content) != start + math.prod(shape):
        raise DataError(
            f"{path} is truncated or damaged: expected {start + math.prod(shape):,} bytes for shape {shape}, "
            f"got {len(content):,}. {again}"
        )
    expected, actual = checksums.get(path.name.removesuffix(".gz")), hashlib.sha256(content).hexdigest()
    if expected not in (None, actual):
        raise WrongChecksum(
            f"{path} has the wrong checksum: expected sha256 {expected} of the uncompressed content, got {actual}. "
            f"{again}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()
