"""Batched augmentation against a naive reference, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from estimators.augment import augment, normalise, resize, take
from estimators.problem import Augmentation, ImageSet
from search_spaces.errors import SupertauError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distinct(batch: int, channels: int, side: int) -> torch.Tensor:
    """Images of random pixels 1..255, so that padding (0) can be told from the image."""
    return torch.randint(1, 256, (batch, channels, side, side), generator=generator(99), dtype=torch.uint8)


def windows(image: np.ndarray, crop: int, flip: bool) -> dict[bytes, tuple[int, int, bool]]:
    """Every image that crop and flip can make of one, by its bytes."""
    side = image.shape[-1]
    padded = np.pad(image, ((0, 0), (crop, crop), (crop, crop)))
    found = {}
    for y in range(2 * crop + 1):
        for x in range(2 * crop + 1):
            window = padded[:, y : y + side, x : x + side]
            found[window.tobytes()] = (y, x, False)
            if flip:
                found[window[:, :, ::-1].tobytes()] = (y, x, True)
    return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("crop", "flip"), [(2, True), (1, False), (0, True)])
def test_every_image_is_one_of_its_own_windows_and_every_window_is_reached(
    channels: int, crop: int, flip: bool
) -> None:
    one = distinct(1, channels, 6)
    changed = augment(one.repeat(3000, 1, 1, 1), Augmentation(crop=crop, flip=flip), generator())
    possible = windows(one[0].numpy(), crop, flip)
    seen = {possible[image.tobytes()] for image in changed.numpy()}
    assert seen == set(possible.values())


def test_each_image_gets_its_own_change_and_keeps_its_place() -> None:
    images = distinct(64, 3, 8)
    changed = augment(images, Augmentation(crop=2, flip=True), generator())
    changes = [windows(i.numpy(), 2, True)[c.numpy().tobytes()] for i, c in zip(images, changed, strict=True)]
    assert len(set(changes)) > 20


def test_offsets_and_flips_are_uniform() -> None:
    one = distinct(1, 1, 5)
    possible = windows(one[0].numpy(), 1, True)
    changed = augment(one.repeat(18_000, 1, 1, 1), Augmentation(crop=1, flip=True), generator())
    counts: dict[tuple[int, int, bool], int] = {}
    for image in changed.numpy():
        change = possible[image.tobytes()]
        counts[change] = counts.get(change, 0) + 1
    assert len(counts) == 18
    assert all(850 < count < 1150 for count in counts.values())  # 1000 expected, five standard deviations


def test_flip_mirrors_left_to_right() -> None:
    row = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
    changed = augment(row.repeat(50, 1, 1, 1), Augmentation(flip=True), generator())
    mirrored = torch.tensor([[3, 2, 1, 0], [7, 6, 5, 4], [11, 10, 9, 8], [15, 14, 13, 12]], dtype=torch.uint8)
    kinds = {bool((image[0] == mirrored).all()) for image in changed}
    assert kinds == {True, False}
    assert all(torch.equal(i[0], mirrored) or torch.equal(i[0], row[0, 0]) for i in changed)


@pytest.mark.parametrize("length", [1, 3, 4, 8])
def test_cutout_is_a_square_around_a_centre_clipped_at_the_borders(length: int) -> None:
    side = 8
    images = torch.full((4000, 3, side, side), 200, dtype=torch.uint8)
    changed = augment(images, Augmentation(cutout=length), generator(), mean=(0.5, 0.25, 0.0))
    assert changed.unique().tolist() == sorted({200, 128, 64, 0})
    holes = changed[:, 0] == 128
    assert torch.equal(holes, changed[:, 1] == 64)
    assert torch.equal(holes, changed[:, 2] == 0)
    expected = set()
    for y in range(side):
        for x in range(side):
            hole = np.zeros((side, side), dtype=bool)
            top, left = y - length // 2, x - length // 2
            hole[max(top, 0) : top + length, max(left, 0) : left + length] = True
            expected.add(hole.tobytes())
    assert {hole.tobytes() for hole in holes.numpy()} == expected


def test_cutout_without_a_mean_is_black_and_with_one_normalises_to_nearly_zero() -> None:
    images = torch.full((1, 1, 2, 2), 9, dtype=torch.uint8)
    whole = Augmentation(cutout=8)
    assert augment(images, whole, generator()).sum() == 0
    filled = augment(images, whole, generator(), mean=(0.4914,))
    assert normalise(filled, (0.4914,), (0.25,)).abs().max() < 0.5 / 255 / 0.25


def test_same_state_gives_the_same_bytes_and_the_next_batch_others() -> None:
    images, change = distinct(32, 3, 8), Augmentation(crop=2, flip=True, cutout=3)
    one, other = generator(5), generator(5)
    first = augment(images, change, one)
    assert torch.equal(first, augment(images, change, other))
    assert not torch.equal(first, augment(images, change, one))
    assert not torch.equal(first, augment(images, change, generator(6)))


def test_nothing_to_do_leaves_images_and_generator_alone() -> None:
    images, source = distinct(4, 3, 8), generator()
    before = source.get_state()
    assert torch.equal(augment(images, Augmentation(), source), images)
    assert torch.equal(source.get_state(), before)


def test_augment_does_not_change_its_input_nor_the_global_generator() -> None:
    images = distinct(8, 3, 8)
    held, state = images.clone(), torch.get_rng_state()
    augment(images, Augmentation(crop=2, flip=True, cutout=4), generator())
    assert torch.equal(images, held)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_by_value_and_memory_format(channels: int) -> None:
    images = distinct(5, channels, 6)
    mean, std = (0.4914, 0.4822, 0.4465)[:channels], (0.247, 0.243, 0.261)[:channels]
    result = normalise(images, mean, std)
    expected = (images.double() / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert result.dtype == torch.float32
    assert result.shape == images.shape
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-5)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(normalise(channels_last, mean, std), result)


def test_normalise_refuses_wrong_channels_and_no_deviation() -> None:
    with pytest.raises(SupertauError, match="3 channels, but 1 means"):
        normalise(distinct(1, 3, 4), (0.5,), (0.5,))
    with pytest.raises(SupertauError, match="must be positive"):
        normalise(distinct(1, 1, 4), (0.5,), (0.0,))


def test_resize_averages_blocks_and_rounds() -> None:
    images = torch.tensor([[0, 1, 10, 20], [2, 3, 30, 40], [255, 255, 0, 0], [255, 254, 0, 1]], dtype=torch.uint8)
    small = resize(images.view(1, 1, 4, 4), 2)
    assert small.dtype == torch.uint8
    assert small[0, 0].tolist() == [[2, 25], [255, 0]]


@pytest.mark.parametrize("size", [3, 5, 7, 16])
def test_resize_to_any_side_keeps_the_mean_and_a_flat_image(size: int) -> None:
    assert (resize(torch.full((2, 3, 8, 8), 77, dtype=torch.uint8), size) == 77).all()
    images = distinct(200, 1, 8)
    assert abs(resize(images, size).float().mean() - images.float().mean()) < 4


def test_resize_edges() -> None:
    images = distinct(3, 3, 8)
    assert resize(images, 8) is images
    assert resize(images[:0], 4).shape == (0, 3, 4, 4)
    with pytest.raises(SupertauError, match="at least 1 pixel"):
        resize(images, 0)


def test_take_normalises_rows_and_augments_only_with_a_generator() -> None:
    change = Augmentation(crop=1, flip=True)
    images = ImageSet("toy", distinct(10, 3, 8), torch.arange(10), 10, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), change)
    rows = torch.tensor([7, 2, 2])
    plain, labels = take(images, rows)
    assert labels.tolist() == [7, 2, 2]
    assert torch.equal(plain, normalise(images.images[rows], images.mean, images.std))
    changed, _ = take(images, rows, generator(3))
    again = augment(images.images[rows], images.augmentation, generator(3), images.mean)
    assert torch.equal(changed, normalise(again, images.mean, images.std))
