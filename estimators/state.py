"""What a checkpoint stores of an object: the attributes that its class names, each by its kind.

networks, loops, scorers, ...    anything with state_dict and load_state_dict: restored in place
random generators                numpy's and torch's: restored in place
numpy arrays                     stored as tensors
counters                         stored as pairs of key and count
plain data                       None, numbers, text, tensors, and lists, tuples and dicts of them
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import numpy as np
import torch

from supertau.estimators.training.generators import numpy_state, set_numpy_state
from supertau.search_spaces.errors import SupertauError


class Stateful:
    """An object whose class says once, in `state`, which attributes training or scoring changes."""

    state: ClassVar[tuple[str, ...]] = ()
    """Names of attributes. Extend that of the parent: ``state = (*Parent.state, "mine")``."""

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs: tensors, numbers, text, lists, tuples and dicts only.

        Tensors are not copied: write the result, or copy it, before training goes on.
        """
        return {name: _saved(getattr(self, name), f"{type(self).__name__}.{name}") for name in self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the attributes back as they were when `state_dict` was called.

        An attribute must be of the same kind as then. Where a network or another object comes into being during
        training, extend this method to make it, and call super().load_state_dict afterwards.
        """
        for name in self.state:
            setattr(self, name, _restored(getattr(self, name), state[name]))


def _saved(value: Any, place: str) -> Any:
    if _has_state(value):
        return value.state_dict()
    if isinstance(value, np.random.Generator):
        return numpy_state(value)
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, Counter):
        return [[_plain(key, place), count] for key, count in value.items()]
    return _plain(value, place)


def _restored(value: Any, stored: Any) -> Any:
    """Return an attribute's value as stored: the present object brought into that state, or new data."""
    if stored is None:
        return None
    if _has_state(value):
        value.load_state_dict(stored)
        return value
    if isinstance(value, np.random.Generator):
        set_numpy_state(value, stored)
        return value
    if isinstance(value, torch.Generator):
        value.set_state(stored.cpu())
        return value
    if isinstance(value, np.ndarray):
        return stored.cpu().numpy().copy()
    if isinstance(value, Counter):
        return Counter(dict(stored))
    if isinstance(value, torch.Tensor):
        return stored.to(value.device, copy=True)
    return _copied(stored)


def _has_state(value: Any) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _plain(value: Any, place: str) -> Any:
    """Return plain data in lists and dicts of its own; raise SupertauError naming the place of anything else."""
    if value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.Tensor):
        return value
    if type(value) in (list, tuple):
        return type(value)(_plain(member, place) for member in value)
    if type(value) is dict and all(type(key) in (str, int) for key in value):
        return {key: _plain(member, place) for key, member in value.items()}
    raise SupertauError(
        f"{place} cannot be stored: it is or contains a {type(value).__name__}. What `state` names may be networks and "
        "other objects with state_dict, generators, arrays, tensors, numbers, text, None, and lists, tuples and dicts "
        "of plain data (keys: text or integers). For anything else extend state_dict and load_state_dict."
    )


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, list | tuple):
        return type(value)(_copied(member) for member in value)
    return {key: _copied(member) for key, member in value.items()} if isinstance(value, dict) else value
