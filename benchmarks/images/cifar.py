"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 images of 32x32 pixels, as Python batches or Parquet."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from supertau.benchmarks.images.batches import read_batch
from supertau.benchmarks.images.parquet import find_shards, read_parquet
from supertau.benchmarks.images.source import ImageSource, Loaded
from supertau.estimators.problem import Augmentation
from supertau.search_spaces.errors import DataError


class Cifar(ImageSource):
    """What both have in common: three forms of the files, looked for in this order below the cache folder.

    The official batches unpacked (``<name>/<unpacked>/``), the official archive (``<name>/<archive>``), Parquet files
    as on the Hugging Face hub (``<name>/train-*.parquet``). The official ones may also lie in the cache folder itself.
    batches: MD5 of each file, by split.
    """

    size = 32
    channels = 3
    augmentation = Augmentation(crop=4, flip=True)
    counts = {"train": 50_000, "test": 10_000}  # noqa: RUF012

    archive: ClassVar[str]
    unpacked: ClassVar[str]
    batches: ClassVar[dict[str, dict[str, str]]]
    label_keys: ClassVar[tuple[str, ...]]
    label_columns: ClassVar[tuple[str, ...]]

    def find(self, split: str, folder: Path) -> tuple[str, list[Path]]:
        """Return the form a split is there in ('batches', 'archive' or 'parquet') and its files; else DataError."""
        places = (folder / self.name, folder)
        for place in places:
            files = [place / self.unpacked / name for name in self.batches[split]]
            absent = [file.name for file in files if not file.is_file()]
            if len(absent) < len(files):
                if absent:
                    incomplete = f"{place / self.unpacked} is not complete: {', '.join(absent)} missing."
                    raise DataError(f"{incomplete} {self.fetch}")
                return "batches", files
        for place in places:
            if (place / self.archive).is_file():
                return "archive", [place / self.archive]
        if shards := find_shards(folder / self.name, split):
            return "parquet", shards
        raise DataError(
            f"images '{self.name}' ({split}): expected {self.unpacked}/, {self.archive} or {split}-*.parquet in "
            f"{places[0]}. {self.fetch}"
        )

    def files(self, split: str, folder: Path) -> list[Path]:
        """Return the files of the form that is read; raise DataError when there is none."""
        return self.find(split, folder)[1]

    def has_checksums(self, split: str, folder: Path) -> bool:
        """Return whether it is an official form; Parquet files can be encoded in many ways."""
        return self.find(split, folder)[0] != "parquet"

    def read(self, split: str, folder: Path) -> Loaded:
        """Return the images and labels of a split, in the order of the files."""
        form, files = self.find(split, folder)
        if form == "parquet":
            return read_parquet(files, self.label_columns, self.size, f"{self.name}-{split}", folder, self.fetch)
        contents = self._members(files[0], split) if form == "archive" else ((f, f.read_bytes()) for f in files)
        parts = [
            read_batch(
                content,
                str(path),
                pixels=self.channels * self.size**2,
                label_keys=self.label_keys,
                md5=self.batches[split].get(path.name),
                again=self.fetch,
            )
            for path, content in contents
        ]
        images = np.concatenate([data for data, _ in parts]).reshape(-1, self.channels, self.size, self.size)
        return torch.from_numpy(images), torch.from_numpy(np.concatenate([labels for _, labels in parts]))

    def _members(self, archive: Path, split: str) -> Iterator[tuple[Path, bytes]]:
        """Yield the batches of a split from the archive, without unpacking it."""
        wanted = {f"{self.unpacked}/{name}" for name in self.batches[split]}
        contents: dict[str, bytes] = {}
        try:
            with tarfile.open(archive, "r:*") as tar:
                for member in tar:
                    if member.name in wanted and (stream := tar.extractfile(member)) is not None:
                        contents[member.name] = stream.read()
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{archive} cannot be read, perhaps it is truncated: {error}. {self.fetch}") from error
        if absent := sorted(wanted - contents.keys()):
            raise DataError(f"{archive} holds no {', '.join(absent)}. {self.fetch}")
        for name in sorted(wanted):
            yield archive / name, contents[name]


class Cifar10(Cifar):
    """CIFAR-10; mean and standard deviation as NAS-Bench-201 normalises its training images."""

    name = "cifar10"
    title = "CIFAR-10, 50,000 + 10,000 images 32x32"
    classes = 10
    mean = (125.3 / 255, 123.0 / 255, 113.9 / 255)
    std = (63.0 / 255, 62.1 / 255, 66.7 / 255)
    archive = "cifar-10-python.tar.gz"
    unpacked = "cifar-10-batches-py"
    batches = {  # noqa: RUF012
        "train": {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
    }
    label_keys = ("labels",)
    label_columns = ("label", "labels")
    fetch = "Run 'supertau data fetch cifar10', or put the files there; 'supertau data list' says from where."


class Cifar100(Cifar):
    """CIFAR-100 with its fine labels; mean and standard deviation as NAS-Bench-201 normalises its training images."""

    name = "cifar100"
    title = "CIFAR-100, 50,000 + 10,000 images 32x32"
    classes = 100
    mean = (129.3 / 255, 124.1 / 255, 112.4 / 255)
    std = (68.2 / 255, 65.4 / 255, 70.4 / 255)
    archive = "cifar-100-python.tar.gz"
    unpacked = "cifar-100-python"
    batches = {  # noqa: RUF012
        "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
        "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    }
    label_keys = ("fine_labels",)
    label_columns = ("fine_label", "fine_labels", "label")
    fetch = "Run 'supertau data fetch cifar100', or put the files there; 'supertau data list' says from where."
