"""ImageNet16-120 out of batches of down-sampled ImageNet."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from supertau.benchmarks.images import load_problem_images
from supertau.benchmarks.images.imagenet16 import ImageNet16
from supertau.search_spaces.cache import WrongChecksum
from supertau.search_spaces.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*the official split has.*:UserWarning")
LABELS = [1, 120, 121, 1000, 60]
NAMES = [f"train_data_batch_{n}" for n in range(1, 11)] + ["val_data"]


@pytest.fixture
def data(tmp_path: Path, pixels: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eleven batches of five images, two of them of other classes, as Python 3 pickled them."""
    monkeypatch.setattr(ImageNet16, "checksums", {})
    (tmp_path / "ImageNet16").mkdir()
    for n, name in enumerate(NAMES):
        batch = {"data": pixels(55, 3, 16)[5 * n : 5 * n + 5].reshape(5, 768), "labels": LABELS}
        if name != "val_data":
            batch["mean"] = np.zeros(768)
        (tmp_path / "ImageNet16" / name).write_bytes(pickle.dumps(batch, protocol=3))
    return tmp_path


def test_the_first_120_classes_counted_from_zero(data: Path, pixels: Callable[..., np.ndarray]) -> None:
    images, labels = ImageNet16().load("train", data)
    assert labels.tolist() == [0, 119, 59] * 10
    kept = [5 * n + k for n in range(10) for k in (0, 1, 4)]
    assert np.array_equal(images.numpy(), pixels(55, 3, 16)[kept])
    assert ImageNet16().load("test", data)[1].tolist() == [0, 119, 59]


def test_what_the_official_validation_images_are_called(data: Path) -> None:
    train, scored = load_problem_images("imagenet16-120", validation_split="test", data=data)
    assert (len(train), len(scored), scored.classes) == (30, 3, 120)
    assert scored.name == "imagenet16-120 (official validation images)"


def test_missing_batches(data: Path, tmp_path: Path) -> None:
    (data / "ImageNet16" / "train_data_batch_7").unlink()
    with pytest.raises(DataError, match=r"not complete: train_data_batch_7 missing.*data fetch imagenet16-120"):
        ImageNet16().load("train", data)
    with pytest.raises(DataError, match=r"expected train_data_batch_1 to train_data_batch_10 in .*imagenet16-120"):
        ImageNet16().load("train", tmp_path / "empty")


def test_labels_out_of_range_and_wrong_checksum(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data / "ImageNet16" / "val_data"
    path.write_bytes(pickle.dumps({"data": np.zeros((1, 768), np.uint8), "labels": [0]}))
    with pytest.raises(DataError, match=r"val_data: expected labels 1\.\.1000, got 0\.\.0"):
        ImageNet16().load("test", data)
    monkeypatch.undo()
    with pytest.raises(WrongChecksum, match="expected md5 3410e3017fdaefba8d5073aaa65e4bd6"):
        ImageNet16().load("test", data)
