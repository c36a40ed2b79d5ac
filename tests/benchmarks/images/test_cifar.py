"""CIFAR in its three forms: unpacked batches, the archive, Parquet."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from supertau.benchmarks.images import load_problem_images
from supertau.benchmarks.images.batches import read_batch
from supertau.benchmarks.images.cifar import Cifar10, Cifar100
from supertau.estimators.problem import Augmentation
from supertau.search_spaces.cache import WrongChecksum
from supertau.search_spaces.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*the official split has.*:UserWarning")

LABELS = [3, 0, 9, 1]


@pytest.fixture
def batches(
    pixels: Callable[..., np.ndarray],
    python2_batch: Callable[..., bytes],
    md5: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, bytes]:
    """The six batches of a tiny CIFAR-10, whose checksums the reader is made to expect."""
    images = pixels(24, 3, 32).reshape(6, 4, 3072)
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    contents = {name: python2_batch(data, LABELS) for name, data in zip(names, images, strict=True)}
    sums = {name: md5(content) for name, content in contents.items()}
    test = {"test_batch": sums.pop("test_batch")}
    monkeypatch.setattr(Cifar10, "batches", {"train": sums, "test": test})
    return contents


def unpack(contents: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def archive(contents: dict[str, bytes], path: Path, prefix: str = "cifar-10-batches-py") -> Path:
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{prefix}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("place", ["cifar10/cifar-10-batches-py", "cifar-10-batches-py"])
def test_unpacked_batches(
    batches: dict[str, bytes], pixels: Callable[..., np.ndarray], tmp_path: Path, place: str
) -> None:
    unpack(batches, tmp_path / place)
    images, labels = Cifar10().load("train", tmp_path)
    assert np.array_equal(images.numpy(), pixels(24, 3, 32)[:20])
    assert labels.tolist() == LABELS * 5
    images, labels = Cifar10().load("test", tmp_path)
    assert np.array_equal(images.numpy(), pixels(24, 3, 32)[20:])
    assert Cifar10().missing(tmp_path) is None


def test_archive_is_read_without_unpacking(
    batches: dict[str, bytes], pixels: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    shuffled = dict(sorted(batches.items(), reverse=True))
    archive(shuffled, tmp_path / "cifar10" / "cifar-10-python.tar.gz")
    images, labels = Cifar10().load("train", tmp_path)
    assert np.array_equal(images.numpy(), pixels(24, 3, 32)[:20])
    assert labels.tolist() == LABELS * 5
    assert [p.name for p in (tmp_path / "cifar10").iterdir()] == ["cifar-10-python.tar.gz"]


def test_cifar100_has_fine_labels(
    pixels: Callable[..., np.ndarray],
    python2_batch: Callable[..., bytes],
    md5: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    content = python2_batch(pixels(2, 3, 32).reshape(2, 3072), [99, 7], "fine_labels")
    monkeypatch.setattr(Cifar100, "batches", {"train": {"train": md5(content)}, "test": {"test": md5(content)}})
    unpack({"train": content, "test": content}, tmp_path / "cifar100" / "cifar-100-python")
    assert Cifar100().load("train", tmp_path)[1].tolist() == [99, 7]


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("fortran", [False, True])
def test_batches_written_by_python_3(pixels: Callable[..., np.ndarray], protocol: int, fortran: bool) -> None:
    data = pixels(4, 3, 32).reshape(4, 3072)
    entries = {"data": np.asfortranarray(data) if fortran else data, "labels": np.array(LABELS), "mean": np.ones(3072)}
    content = pickle.dumps(entries, protocol=protocol)
    pixels_read, labels = read_batch(content, "b", pixels=3072, label_keys=("labels",), md5=None, again="Again.")
    assert np.array_equal(pixels_read, data)
    assert labels.tolist() == LABELS


def test_batches_stored_column_by_column(
    pixels: Callable[..., np.ndarray], python2_batch: Callable[..., bytes]
) -> None:
    data = pixels(4, 3, 32).reshape(4, 3072)
    content = python2_batch(data, LABELS, fortran=True)
    pixels_read, _ = read_batch(content, "b", pixels=3072, label_keys=("labels",), md5=None, again="Again.")
    assert np.array_equal(pixels_read, data)


def test_wrong_checksum_names_file_both_checksums_and_the_way_to_a_new_one(
    batches: dict[str, bytes], md5: Callable[[bytes], str], tmp_path: Path
) -> None:
    place = unpack(batches, tmp_path / "cifar10" / "cifar-10-batches-py")
    damaged = bytearray(batches["data_batch_3"])
    damaged[5000] ^= 1
    (place / "data_batch_3").write_bytes(damaged)
    with pytest.raises(WrongChecksum) as caught:
        Cifar10().load("train", tmp_path)
    for part in (str(place / "data_batch_3"), md5(batches["data_batch_3"]), md5(bytes(damaged)), "data fetch cifar10"):
        assert part in str(caught.value)


def test_a_batch_that_is_not_there(batches: dict[str, bytes], tmp_path: Path) -> None:
    place = unpack(batches, tmp_path / "cifar10" / "cifar-10-batches-py")
    (place / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"not complete: data_batch_4 missing.*data fetch cifar10"):
        Cifar10().load("train", tmp_path)


def test_a_truncated_archive_and_one_without_a_batch(batches: dict[str, bytes], tmp_path: Path) -> None:
    path = archive(batches, tmp_path / "a" / "cifar-10-python.tar.gz")
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz cannot be read, perhaps it is truncated"):
        Cifar10().load("train", tmp_path / "a")
    archive({"readme.html": b"hello"}, tmp_path / "b" / "cifar-10-python.tar.gz")
    with pytest.raises(DataError, match="holds no cifar-10-batches-py/test_batch"):
        Cifar10().load("test", tmp_path / "b")


def test_nothing_there_says_what_was_expected_and_how_to_get_it(tmp_path: Path) -> None:
    message = Cifar10().missing(tmp_path)
    assert message is not None
    expected = ("cifar-10-batches-py/", "cifar-10-python.tar.gz", "train-*.parquet", str(tmp_path), "fetch cifar10")
    for part in expected:
        assert part in message
    with pytest.raises(DataError, match="cifar-100-python"):
        load_problem_images("cifar100", data=tmp_path)


class _Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    content = pickle.dumps({"data": _Malicious(tmp_path / "run"), "labels": [1]}, protocol=2)
    with pytest.raises(DataError, match=r"data_batch_1: refused to load '\w+\.system'.*Again\."):
        read_batch(content, "data_batch_1", pixels=3072, label_keys=("labels",), md5=None, again="Again.")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"data": np.zeros((2, 3072), np.uint8)}, "no labels: expected an entry labels"),
        ({"labels": [1]}, "cannot be read as a batch of images.*KeyError"),
        ({"data": np.zeros((2, 7), np.uint8), "labels": [1, 2]}, r"rows of 3,072 pixels, got uint8 \(2, 7\)"),
        ({"data": np.zeros((2, 3072)), "labels": [1, 2]}, "expected uint8 rows"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "one whole number as label for each of 2 images"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [0.5]}, "one whole number as label"),
        ({"data": np.array([None, {}]), "labels": [1, 2]}, "an array of type 'O8'"),
        ([1, 2], "cannot be read as a batch"),
    ],
)
def test_pickles_that_are_no_batches(entries: object, message: str) -> None:
    content = pickle.dumps(entries, protocol=2)
    with pytest.raises(DataError, match=message):
        read_batch(content, "b", pixels=3072, label_keys=("labels",), md5=None, again="Again.")


@pytest.mark.parametrize("length", [0, 1, 60, 3000])
def test_truncated_batches(pixels: Callable[..., np.ndarray], python2_batch: Callable[..., bytes], length: int) -> None:
    content = python2_batch(pixels(4, 3, 32).reshape(4, 3072), LABELS)[:length]
    with pytest.raises(DataError, match=r"cannot be read as a batch of images, perhaps it is truncated.*Again"):
        read_batch(content, "b", pixels=3072, label_keys=("labels",), md5=None, again="Again.")


def test_official_test_images_only_by_name_and_then_labelled(
    batches: dict[str, bytes], pixels: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    unpack(batches, tmp_path / "cifar10" / "cifar-10-batches-py")
    train, validation = load_problem_images("cifar10", size=16, train=8, validation=8, data=tmp_path)
    assert (train.name, validation.name) == ("cifar10", "cifar10")
    assert train.augmentation == Augmentation(crop=2, flip=True)
    train, scored = load_problem_images("cifar10", validation_split="test", data=tmp_path)
    assert len(train) == 20
    assert (train.name, scored.name) == ("cifar10", "cifar10 (official test split)")
    official = {image.tobytes() for image in pixels(24, 3, 32)[20:]}
    assert {image.tobytes() for image in scored.images.numpy()} == official
    assert not official & {image.tobytes() for image in train.images.numpy()}
    with pytest.raises(DataError, match="5 images were asked for, expected 1 to 4"):
        load_problem_images("cifar10", validation_split="test", validation=5, data=tmp_path)


def test_real_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ.get("SUPERTAU_DATA", ""))
    source = Cifar10()
    if not os.environ.get("SUPERTAU_DATA") or (reason := source.missing(folder)) is not None:
        pytest.skip("SUPERTAU_DATA is not set" if not os.environ.get("SUPERTAU_DATA") else str(reason))
    images, labels = source.load("test", folder)
    assert images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(labels).tolist() == [1000] * 10
    shares = images.float() / 255
    assert torch.allclose(shares.mean((0, 2, 3)), torch.tensor(source.mean), atol=0.01)
    assert torch.allclose(shares.std((0, 2, 3)), torch.tensor(source.std), atol=0.01)
