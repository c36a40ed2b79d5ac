"""Train and validation rows: fixed by a seed, class-balanced, disjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from supertau.search_spaces.errors import DataError

Rows = npt.NDArray[np.int64]
Size = int | float | None
"""A number of images (int), a share of all images (float between 0 and 1), or the rest (None)."""


def split(labels: npt.ArrayLike, train: Size = None, validation: Size = None, seed: int = 0) -> tuple[Rows, Rows]:
    """Return disjoint train and validation rows, in an order that the seed decides.

    labels: (N,) class numbers. Sizes that are both None are half and half; one None is the rest. In each part, and in
    each beginning of a part, the classes' counts differ by at most 1; a class that has too few images lacks
    them in both parts in proportion, and the other classes have more. Raises DataError for sizes that are larger than
    there are images.
    """
    labels = np.asarray(labels)
    return _draw(labels, *_sizes(len(labels), train, validation), seed)


def choose(labels: npt.ArrayLike, size: Size, seed: int = 0) -> Rows:
    """Return rows of one class-balanced part, as `split` does; None is all rows. Raises DataError for a bad size."""
    labels = np.asarray(labels)
    available = len(labels)
    wanted = available if size is None else _count(size, available, "image")
    if not 1 <= wanted <= available:
        raise DataError(f"{wanted} images were asked for, expected 1 to {available}.")
    return _draw(labels, wanted, 0, seed)[0]


def _draw(labels: npt.NDArray[Any], one: int, two: int, seed: int) -> tuple[Rows, Rows]:
    rng = np.random.default_rng(seed)
    classes, membership = np.unique(labels, return_inverse=True)
    order = rng.permutation(len(classes))
    members = [rng.permutation(np.flatnonzero(membership == k)) for k in range(len(classes))]

    both = _even(np.array([len(m) for m in members]), one + two, order)
    first = _share(both, one, order)
    parts = (
        [m[:a] for m, a in zip(members, first, strict=True)],
        [m[a:b] for m, a, b in zip(members, first, both, strict=True)],
    )
    return _in_turn(parts[0], rng), _in_turn(parts[1], rng)


def _in_turn(groups: list[Rows], rng: np.random.Generator) -> Rows:
    """Return the rows of all groups, one of each in every round, the rounds in random order."""
    rows = np.concatenate(groups)
    turn = np.concatenate([np.arange(len(group)) for group in groups])
    return rows[np.lexsort((rng.random(len(rows)), turn))].astype(np.int64)


def _sizes(available: int, train: Size, validation: Size) -> tuple[int, int]:
    """Resolve sizes to numbers of images, train and validation."""

    one = None if train is None else _count(train, available, "train")
    two = None if validation is None else _count(validation, available, "validation")
    if one is None and two is None:
        one = available // 2
    one = available - two if one is None and two is not None else one
    assert one is not None
    two = available - one if two is None else two
    if one < 1 or two < 1 or one + two > available:
        raise DataError(
            f"cannot split {available} images into {one} for training and {two} for validation: both parts need at "
            f"least 1 image, and together at most {available}."
        )
    return one, two


def _count(size: int | float, available: int, part: str) -> int:
    if isinstance(size, float):
        if not 0 < size < 1:
            raise DataError(f"{part} share must lie between 0 and 1, got {size:g}; a count is an int.")
        return round(size * available)
    return int(size)


def _even(capacity: Rows, total: int, order: Rows) -> Rows:
    """Return counts that sum to `total`, as equal as the capacities allow; `order`: who gets one more first."""
    counts = np.zeros_like(capacity)
    while (left := total - int(counts.sum())) > 0:
        open_classes = [k for k in order if counts[k] < capacity[k]]
        if left < len(open_classes):
            counts[open_classes[:left]] += 1
        else:
            level = min(left // len(open_classes), int((capacity - counts)[open_classes].min()))
            counts[open_classes] += level
    return counts


def _share(counts: Rows, total: int, order: Rows) -> Rows:
    """Return the part of each count that sums to `total`, in proportion (largest remainder)."""
    quotas = counts * total
    whole, remainder = quotas // counts.sum(), quotas % counts.sum()
    rank = np.argsort(order)
    by_remainder = np.lexsort((rank, -remainder))
    whole[by_remainder[: total - int(whole.sum())]] += 1
    return whole
