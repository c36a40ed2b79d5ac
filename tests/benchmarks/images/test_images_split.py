"""Splits: disjoint, class-balanced, fixed by the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supertau.benchmarks.images.split import choose, split
from supertau.search_spaces.errors import DataError

BALANCED = np.repeat(np.arange(10), 100)


def counts(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.bincount(labels[rows], minlength=int(labels.max()) + 1)


def spread(values: np.ndarray) -> int:
    return int(values.max() - values.min())


@pytest.mark.parametrize(
    ("train", "validation"), [(500, 500), (333, 128), (7, 13), (999, 1), (None, None), (0.3, 0.25)]
)
def test_balanced_disjoint_and_of_the_size_asked_for(train: float | None, validation: float | None) -> None:
    one, two = split(BALANCED, train, validation, seed=3)
    sizes = [500 if s is None else round(s * 1000) if isinstance(s, float) else s for s in (train, validation)]
    assert [len(one), len(two)] == sizes
    assert len({*one, *two}) == len(one) + len(two)
    assert spread(counts(BALANCED, one)) <= 1
    assert spread(counts(BALANCED, two)) <= 1


def test_every_beginning_of_a_part_is_balanced() -> None:
    for part in split(BALANCED, 600, 400):
        for length in (1, 5, 10, 55, 128, 399):
            assert spread(counts(BALANCED, part[:length])) <= 1


def test_one_size_given_the_other_part_is_the_rest() -> None:
    one, two = split(BALANCED, validation=100)
    assert (len(one), len(two)) == (900, 100)
    one, two = split(BALANCED, train=100)
    assert (len(one), len(two)) == (100, 900)


def test_seed_fixes_the_rows_and_another_seed_gives_others() -> None:
    first, again, other = (split(BALANCED, 300, 300, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(np.sort(first[0]), np.sort(other[0]))


def test_split_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    split(BALANCED, 300, 300)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_unequal_classes_are_short_in_both_parts_alike() -> None:
    labels = np.repeat([0, 1, 2], [40, 200, 200])
    one, two = split(labels)
    assert np.abs(counts(labels, one) - counts(labels, two)).max() <= 1
    one, two = split(labels, 200, 100)
    assert len(one) == 200
    assert counts(labels, one).tolist() == [27, 87, 86] or counts(labels, one).tolist() == [27, 86, 87]
    assert counts(labels, two)[0] == 13


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.data())
def test_any_sizes_that_fit_are_met_exactly(sizes: list[int], data: st.DataObject) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    if len(labels) < 2:
        return
    train = data.draw(st.integers(1, len(labels) - 1))
    validation = data.draw(st.integers(1, len(labels) - train))
    one, two = split(labels, train, validation, seed=data.draw(st.integers(0, 5)))
    assert (len(one), len(two)) == (train, validation)
    assert len({*one, *two}) == train + validation
    if min(sizes) * len(sizes) >= train + validation:
        assert spread(counts(labels, one)) <= 1
        assert spread(counts(labels, two)) <= 1


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (1001, None, "cannot split 1000 images into 1001"),
        (600, 600, "into 600 for training and 600 for validation"),
        (0, 10, "at least 1 image"),
        (-5, 10, "-5 for training"),
        (1000, None, "0 for validation"),
        (1.5, None, "share must lie between 0 and 1, got 1.5"),
    ],
)
def test_sizes_that_cannot_be(train: float, validation: float | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(BALANCED, train, validation)


def test_choose_is_balanced_and_whole_by_default() -> None:
    assert sorted(choose(BALANCED, None)) == list(range(1000))
    assert spread(counts(BALANCED, choose(BALANCED, 37))) <= 1
    assert np.array_equal(choose(BALANCED, 37, 4), choose(BALANCED, 37, 4))
    with pytest.raises(DataError, match="1001 images were asked for, expected 1 to 1000"):
        choose(BALANCED, 1001)
