"""The embedded digits, and problems made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from supertau.benchmarks.images import IMAGES, ImageSource, load_problem_images
from supertau.benchmarks.images.digits import Digits
from supertau.estimators.problem import Augmentation
from supertau.search_spaces.errors import DataError, UnknownName


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    images, labels = Digits().load("train", tmp_path)
    reference = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert (images.min(), images.max()) == (0, 255)
    assert np.abs(images[:, 0].numpy() / 255 * 16 - reference.images).max() <= 0.5 / 255 * 16
    assert np.array_equal(labels.numpy(), reference.target)


def test_mean_and_deviation_are_those_of_the_pixels(tmp_path: Path) -> None:
    images, _ = Digits().load("train", tmp_path)
    shares = images.double() / 255
    assert Digits.mean[0] == pytest.approx(float(shares.mean()), abs=1e-3)
    assert Digits.std[0] == pytest.approx(float(shares.std()), abs=1e-3)


def test_a_problem_is_split_balanced_and_repeatable() -> None:
    train, validation = load_problem_images("digits", train=320, validation=160, seed=1)
    assert (len(train), len(validation)) == (320, 160)
    assert torch.bincount(train.labels).tolist() == [32] * 10
    assert torch.bincount(validation.labels).tolist() == [16] * 10
    assert (train.name, train.classes, train.augmentation) == ("digits", 10, Augmentation(crop=1))
    again, _ = load_problem_images("digits", train=320, validation=160, seed=1)
    other, _ = load_problem_images("digits", train=320, validation=160, seed=2)
    assert torch.equal(train.images, again.images)
    assert not torch.equal(train.images, other.images)


def test_another_size_scales_the_augmentation_with_it() -> None:
    train, _ = load_problem_images("digits", size=16)
    assert train.images.shape[1:] == (1, 16, 16)
    assert train.augmentation == Augmentation(crop=2)
    assert Digits().augmentation_at(4) == Augmentation(crop=1)


def test_what_digits_do_not_have() -> None:
    with pytest.raises(DataError, match="no official test split"):
        load_problem_images("digits", validation_split="test")
    with pytest.raises(DataError, match="'train' or 'test', got 'valid'"):
        load_problem_images("digits", validation_split="valid")
    with pytest.raises(DataError, match="cannot split 1797 images into 1700 for training and 200"):
        load_problem_images("digits", train=1700, validation=200)
    with pytest.raises(DataError, match="no official split 'test'; there is 'train'"):
        Digits().load("test", Path())
    with pytest.raises(UnknownName, match=r"unknown image set 'digit'\. Did you mean 'digits'\?"):
        load_problem_images("digit")


def test_registry_holds_the_five_sets_each_with_what_is_needed() -> None:
    assert {"digits", "cifar10", "cifar100", "imagenet16-120", "fashion-mnist"} <= set(IMAGES.names())
    for name in ("digits", "cifar10", "cifar100", "imagenet16-120", "fashion-mnist"):
        source = IMAGES.get(name)()
        assert source.name == name
        assert len(source.mean) == len(source.std) == source.channels
        assert next(iter(source.counts)) == "train"


class _Broken(Digits):
    name = "broken"
    wrong: tuple[torch.Tensor, torch.Tensor]

    def read(self, split: str, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
        return self.wrong


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), "expected uint8 of shape"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"uint8 \(2, 3, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "2 images, but labels"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 10]), r"labels 0\.\.9, got 0\.\.10"),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), "no image at all"),
    ],
)
def test_a_source_that_reads_nonsense_is_refused(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    source: ImageSource = _Broken()
    source.wrong = (images, labels)  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=message):
        source.load("train", Path())


def test_fewer_images_than_the_official_split_is_a_warning() -> None:
    source = _Broken()
    source.wrong = (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.warns(UserWarning, match="2 images, the official split has 1,797"):
        source.load("train", Path())
