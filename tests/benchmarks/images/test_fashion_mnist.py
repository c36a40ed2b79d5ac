"""Fashion-MNIST's IDX files, compressed and plain."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from supertau.benchmarks.images import fashion_mnist, load_problem_images
from supertau.benchmarks.images.fashion_mnist import FashionMnist
from supertau.search_spaces.cache import WrongChecksum
from supertau.search_spaces.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*the official split has.*:UserWarning")
Write = Callable[..., Path]
Pixels = Callable[..., np.ndarray]


def write_set(write_idx: Write, pixels: Pixels, folder: Path, suffix: str) -> dict[str, str]:
    """Write tiny train and test files; return their contents' checksums."""
    for prefix, count in (("train", 20), ("t10k", 6)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", pixels(count, 1, 28)[:, 0])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 10)
    sums = {}
    for path in folder.iterdir():
        content = gzip.decompress(path.read_bytes()) if suffix else path.read_bytes()
        sums[path.name.removesuffix(".gz")] = hashlib.sha256(content).hexdigest()
    return sums


@pytest.fixture(autouse=True)
def no_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("place", ["fashion-mnist", "debian"])
def test_both_forms_in_both_places(
    write_idx: Write, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, place: str
) -> None:
    monkeypatch.setattr(FashionMnist, "checksums", write_set(write_idx, pixels, tmp_path / place, suffix))
    images, labels = FashionMnist().load("train", tmp_path)
    assert np.array_equal(images.numpy(), pixels(20, 1, 28))
    assert labels.tolist() == [*range(10), *range(10)]
    assert FashionMnist().load("test", tmp_path)[0].shape == (6, 1, 28, 28)
    assert FashionMnist().missing(tmp_path) is None


def test_problem_with_the_official_test_split(
    write_idx: Write, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = write_set(write_idx, pixels, tmp_path / "fashion-mnist", ".gz")
    monkeypatch.setattr(FashionMnist, "checksums", sums)
    train, test = load_problem_images("fashion-mnist", size=14, validation_split="test", data=tmp_path)
    assert train.images.shape == (20, 1, 14, 14)
    assert (len(test), test.name) == (6, "fashion-mnist (official test split)")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.*data fetch fashion-mnist.*dataset-fashion-mnist"):
        FashionMnist().load("train", tmp_path)


def test_other_files_of_the_same_names_are_refused(write_idx: Write, pixels: Pixels, tmp_path: Path) -> None:
    write_set(write_idx, pixels, tmp_path / "fashion-mnist", ".gz")
    with pytest.raises(WrongChecksum, match=r"train-images.*\.gz has the wrong checksum: expected sha256 c59f46"):
        FashionMnist().load("train", tmp_path)


def test_damaged_files(write_idx: Write, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FashionMnist, "checksums", {})
    folder = tmp_path / "fashion-mnist"
    write_set(write_idx, pixels, folder, "")
    path = folder / "t10k-images-idx3-ubyte"
    whole = path.read_bytes()
    cases = [
        (whole[:-1], "is truncated or damaged: expected 4,720 bytes for shape .6, 28, 28., got 4,719"),
        (whole + b"x", "truncated or damaged"),
        (whole[:10], "not an IDX file"),
        (b"", "expected it to begin with 00000803, got nothing"),
        (b"\x00\x00\x0d\x03" + whole[4:], "expected it to begin with 00000803, got 00000d03"),
        (b"\x00\x00\x08\x01" + whole[4:], "expected it to begin with 00000803, got 00000801"),
    ]
    for content, message in cases:
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            FashionMnist().load("test", tmp_path)
    path.unlink()
    compressed = gzip.compress(whole)
    middle = len(compressed) // 2
    for damaged in (compressed[:-30], compressed[:middle] + b"\xff" * 9 + compressed[middle + 9 :], b"no gzip"):
        (folder / "t10k-images-idx3-ubyte.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz cannot be read.*data fetch fashion-mnist"):
            FashionMnist().load("test", tmp_path)


def test_fewer_labels_than_images(
    write_idx: Write, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FashionMnist, "checksums", {})
    write_set(write_idx, pixels, tmp_path / "fashion-mnist", "")
    write_idx(tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte", np.zeros(5, dtype=np.uint8))
    with pytest.raises(DataError, match="6 images, but labels"):
        FashionMnist().load("test", tmp_path)


def test_real_files_of_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    if not fashion_mnist.DEBIAN_FOLDER.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    for split, count in FashionMnist.counts.items():
        images, labels = FashionMnist().load(split, tmp_path)
        assert torch.bincount(labels).tolist() == [count // 10] * 10
    train = FashionMnist().load("train", tmp_path)[0].double() / 255
    assert train.mean().item() == pytest.approx(FashionMnist.mean[0], abs=1e-4)
    assert train.std().item() == pytest.approx(FashionMnist.std[0], abs=1e-4)
    assert images.shape[1:] == (1, 28, 28)
