"""States of estimators as a checkpoint would hold them, for the tests of every room."""

import io

import torch


def stored(value):
    """Return bytes of a state, through the file format of checkpoints: a later step cannot change them."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def loaded(held):
    """Return what `stored` was given."""
    return torch.load(io.BytesIO(held), weights_only=True)


def same(one, other):
    """Return whether two states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
