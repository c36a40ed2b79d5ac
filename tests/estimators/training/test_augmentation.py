"""Batched augmentation against a naive reference, image by image."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from supertau.estimators.problem import Augmentation, ImageSet
from supertau.estimators.training.augmentation import (
    Distortion,
    augment,
    colour_jitter,
    distort,
    gaussian_blur,
    normalise,
    random_grey,
    random_resized_crop,
    resize,
    take,
)
from supertau.search_spaces.errors import SupertauError


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


# --- views for contrastive learning ---------------------------------------------------------------------------------

FULL = Distortion((0.3, 1.0), True, 0.4, 0.4, 0.4, 0.1, 0.8, 0.2, 0.5)


def colours(batch: int, channels: int = 3, side: int = 4) -> torch.Tensor:
    return torch.rand((batch, channels, side, side), generator=generator(7))


def reachable(side: int, scale: tuple[float, float]) -> set[tuple[int, int]]:
    """Heights and widths that an area in a range and a ratio in [3/4, 4/3] round to."""
    found = set()
    for area in np.linspace(*scale, 400) * side**2:
        for ratio in np.exp(np.linspace(math.log(3 / 4), math.log(4 / 3), 400)):
            height, width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 1 <= height <= side and 1 <= width <= side:
                found.add((height, width))
    return found


def found_crops(images: torch.Tensor, crops: torch.Tensor) -> list[tuple[int, int, int, int, bool]]:
    """Return the rectangle that each crop of the one image is the enlargement of: top, left, height, width, mirrored.

    The reference cuts first and interpolates then, so that it cannot see what lies outside the rectangle.
    """
    side = images.shape[-1]
    keys, candidates = [], []
    for height in range(1, side + 1):
        for width in range(1, side + 1):
            for top in range(side - height + 1):
                for left in range(side - width + 1):
                    part = images[:, :, top : top + height, left : left + width]
                    large = F.interpolate(part, size=side, mode="bilinear", align_corners=False)
                    for mirrored in (False, True):
                        keys.append((top, left, height, width, mirrored))
                        candidates.append(large.flip(3) if mirrored else large)
    distance = torch.cdist(crops.flatten(1), torch.cat(candidates).flatten(1), p=math.inf)
    assert distance.min(1).values.max() < 1e-5
    return [keys[i] for i in distance.argmin(1).tolist()]


@pytest.mark.parametrize("scale", [(0.2, 1.0), (0.5, 0.6), (1.0, 1.0)])
def test_resized_crops_are_bilinear_enlargements_of_rectangles_of_the_right_sizes(scale: tuple[float, float]) -> None:
    one = colours(1, 2, 6)
    crops = random_resized_crop(one.repeat(2000, 1, 1, 1), scale, True, generator())
    found = found_crops(one, crops)
    sizes = {(height, width) for _, _, height, width, _ in found}
    expected = reachable(6, scale)
    assert sizes <= expected
    assert len(sizes) >= 0.9 * len(expected)
    assert 0.45 < np.mean([mirrored for *_, mirrored in found]) < 0.55
    for height, width in [(6, 5), (4, 4), (3, 3)]:
        places = {(top, left) for top, left, h, w, _ in found if (h, w) == (height, width)}
        if sum((h, w) == (height, width) for _, _, h, w, _ in found) > 100:
            assert len(places) == (7 - height) * (7 - width)  # any place inside the image


def test_area_of_resized_crops_is_uniform_and_they_are_not_mirrored_unasked() -> None:
    one = colours(1, 1, 16)
    ramp = torch.arange(16.0).view(1, 1, 1, 16).expand(4000, 1, 16, 16)
    wide = random_resized_crop(ramp, (0.2, 0.8), False, generator())
    assert (wide.diff(dim=3) >= -1e-5).all()
    # Away from the clamped ends neighbouring pixels of a ramp differ by width / side.
    widths = wide[:, 0, 0].diff(dim=1)[:, 7] * 16
    heights = (
        random_resized_crop(ramp.transpose(2, 3), (0.2, 0.8), False, generator())[:, 0, :, 0].diff(dim=1)[:, 7] * 16
    )
    share = (widths * heights / 256).numpy()
    assert abs(share.mean() - 0.5) < 0.02
    assert abs(np.quantile(share, 0.25) - 0.35) < 0.03
    ratio = (widths / heights).log().numpy()
    assert abs(ratio.mean()) < 0.02
    assert np.abs(ratio).max() < math.log(4 / 3) + 0.3  # whole pixels
    assert torch.equal(random_resized_crop(one, (1.0, 1.0), False, generator()), one)


def test_brightness_multiplies_each_image_by_its_own_factor_and_clips() -> None:
    images = colours(3000)
    changed = colour_jitter(images, 0.4, 0.0, 0.0, 0.0, 0.8, generator())
    moved = (changed != images).flatten(1).any(1)
    assert 0.77 < moved.float().mean() < 0.83
    factors = changed[moved].flatten(1).amin(1) / images[moved].flatten(1).amin(1)
    expected = (images[moved] * factors.view(-1, 1, 1, 1)).clamp(0, 1)
    torch.testing.assert_close(changed[moved], expected, rtol=0, atol=1e-5)
    assert abs(factors.min() - 0.6) < 0.01
    assert abs(factors.max() - 1.4) < 0.01
    assert abs(factors.mean() - 1) < 0.02


def grey(images: torch.Tensor) -> torch.Tensor:
    return 0.299 * images[:, :1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:]


@pytest.mark.parametrize("kind", ["contrast", "saturation"])
def test_contrast_and_saturation_blend_with_mean_grey_and_with_grey(kind: str) -> None:
    images = 0.4 + 0.2 * colours(2000)  # no clipping
    strengths = (0.0, 0.4, 0.0, 0.0) if kind == "contrast" else (0.0, 0.0, 0.4, 0.0)
    changed = colour_jitter(images, *strengths, 1.0, generator())
    anchor = grey(images) if kind == "saturation" else grey(images).mean((1, 2, 3), keepdim=True)
    factors = ((changed - anchor) * (images - anchor)).sum((1, 2, 3)) / ((images - anchor) ** 2).sum((1, 2, 3))
    expected = anchor + (images - anchor) * factors.view(-1, 1, 1, 1)
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-5)
    assert abs(factors.min() - 0.6) < 0.01
    assert abs(factors.max() - 1.4) < 0.01


def test_hue_turns_all_pixels_of_an_image_alike_and_leaves_saturation_and_value() -> None:
    images = colours(300)
    images[:, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])  # hue 0: shows the turn
    images[:, :, 0, 1] = 0.25  # grey has no hue
    changed = colour_jitter(images, 0.0, 0.0, 0.0, 0.1, 1.0, generator())
    turns = []
    for before, after in zip(images, changed, strict=True):
        turn = colorsys.rgb_to_hsv(*after[:, 0, 0].tolist())[0]
        turns.append(turn - round(turn))
        for pixel, moved in zip(before.flatten(1).T.tolist(), after.flatten(1).T.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            assert moved == pytest.approx(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), abs=1e-4)
    assert -0.1 <= min(turns) < -0.095
    assert 0.095 < max(turns) <= 0.1


def test_grey_gives_all_channels_the_luminance_of_some_images() -> None:
    images = colours(3000)
    changed = random_grey(images, 0.2, generator())
    chosen = (changed != images).flatten(1).any(1)
    assert 0.17 < chosen.float().mean() < 0.23
    torch.testing.assert_close(changed[chosen], grey(images)[chosen].expand(-1, 3, -1, -1))


def test_blur_weighs_pixels_by_a_gaussian_scaled_to_one_inside_the_image() -> None:
    images = colours(400, 2, 5)
    blurred = gaussian_blur(images, (0.8, 0.8), 0.5, generator())
    chosen = (blurred != images).flatten(1).any(1)
    assert 0.4 < chosen.float().mean() < 0.6
    weights = np.exp(-((np.arange(5)[:, None] - np.arange(5)) ** 2) / (2 * 0.8**2))
    weights /= weights.sum(1, keepdims=True)
    expected = np.einsum("yi,ncij,xj->ncyx", weights, images[chosen].double().numpy(), weights)
    np.testing.assert_allclose(blurred[chosen].numpy(), expected, atol=1e-5)
    spread = gaussian_blur(images, (0.1, 2.0), 1.0, generator()).flatten(1).std(1) / images.flatten(1).std(1)
    assert spread.max() > 0.99  # a width of a tenth of a pixel changes nothing
    assert spread.min() < 0.6


def test_images_without_colour_keep_brightness_and_contrast_and_draw_nothing_for_the_rest() -> None:
    images, source = colours(50, 1), generator()
    before = source.get_state()
    assert torch.equal(colour_jitter(images, 0.0, 0.0, 0.4, 0.1, 0.8, source), images)
    assert torch.equal(random_grey(images, 0.2, source), images)
    assert torch.equal(source.get_state(), before)
    images = 0.4 + 0.2 * images  # no clipping
    changed = colour_jitter(images, 0.4, 0.4, 0.4, 0.1, 1.0, source)
    # Both are linear: brightness b and contrast c give b (c x + (1 - c) mean), in either order.
    mean, moved = images.mean((1, 2, 3)), changed.mean((1, 2, 3))
    brightness = moved / mean
    contrast = changed.flatten(1).std(1) / images.flatten(1).std(1) / brightness
    blended = contrast.view(-1, 1, 1, 1) * images + ((1 - contrast) * mean).view(-1, 1, 1, 1)
    torch.testing.assert_close(changed, brightness.view(-1, 1, 1, 1) * blended, rtol=0, atol=1e-4)
    for factors in (brightness, contrast):
        assert 0.6 - 1e-3 <= factors.min() < 0.65
        assert 1.35 < factors.max() <= 1.4 + 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_uint8_seeded_different_for_each_image_and_leave_their_source_alone(channels: int) -> None:
    images = distinct(1, channels, 8).repeat(40, 1, 1, 1)
    held, state = images.clone(), torch.get_rng_state()
    views = distort(images, FULL, generator(5))
    assert views.dtype == torch.uint8
    assert views.shape == images.shape
    assert len({view.numpy().tobytes() for view in views}) == 40
    source = generator(5)
    assert torch.equal(views, distort(images, FULL, source))
    assert not torch.equal(views, distort(images, FULL, source))
    assert torch.equal(images, held)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(distort(images, Distortion(), generator()), images)


def test_a_view_applies_crop_jitter_grey_and_blur_with_the_given_strengths() -> None:
    images = distinct(64, 3, 8)
    one = generator(3)
    pixels = random_resized_crop(images.float() / 255, (0.3, 1.0), True, one)
    pixels = random_grey(colour_jitter(pixels, 0.4, 0.4, 0.4, 0.1, 0.8, one), 0.2, one)
    pixels = gaussian_blur(pixels, (0.1, 2.0), 0.5, one)
    assert torch.equal(distort(images, FULL, generator(3)), (pixels * 255).round().clamp(0, 255).to(torch.uint8))
