"""One pool of architectures: scores and ground truth, checked, with what several metrics need computed once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.counts import Counts
from supertau.benchmarks.metrics.groups import Floats, TieGroups
from supertau.search_spaces.errors import SupertauError


class PoolError(SupertauError):
    """Scores and ground truth that do not make a pool: wrong shape, or fewer than two architectures."""


class NonFiniteError(PoolError):
    """NaN or infinite values; `indices` are their positions in the pool, `names` what the caller calls them."""

    def __init__(self, what: str, indices: Sequence[int], names: Sequence[str] | None = None) -> None:
        self.indices = tuple(int(i) for i in indices)
        self.names = tuple(str(names[i]) for i in self.indices) if names is not None else ()
        shown = self.names or tuple(f"position {i}" for i in self.indices)
        more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
        super().__init__(
            f"{what} is NaN or infinite for {len(shown)} architecture(s): {', '.join(shown[:10])}{more}. "
            "Every architecture of a pool needs a finite value; score them again or leave them out of the pool."
        )


def check_pool(score: npt.ArrayLike, truth: npt.ArrayLike, names: Sequence[str] | None = None) -> tuple[Floats, Floats]:
    """Return score and truth as float arrays of shape (N,), N >= 2; raise PoolError or NonFiniteError."""
    x, y = np.asarray(score, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise PoolError(f"score and ground truth must be vectors of one length, got shapes {x.shape} and {y.shape}.")
    if len(x) < 2:
        raise PoolError(f"a ranking needs at least 2 architectures, got {len(x)}.")
    if names is not None and len(names) != len(x):
        raise PoolError(f"got {len(names)} names for {len(x)} architectures.")
    for what, values in (("score", x), ("ground truth", y)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise NonFiniteError(what, bad.tolist(), names)
    return x, y


class Truth:
    """Ground truth of a pool: values of shape (N,), finite. Scores that are judged by it share its tie groups."""

    def __init__(self, values: Floats) -> None:
        self.values = values

    @cached_property
    def groups(self) -> TieGroups:
        """Tie groups of the truth."""
        return TieGroups(self.values)

    @cached_property
    def rounded(self) -> TieGroups:
        """Tie groups of the truth rounded to 0.1."""
        return TieGroups(np.round(self.values, 1))

    @cached_property
    def once(self) -> Counts:
        """The pool as a resample: every architecture once."""
        return Counts.once(len(self.values))


class Pool:
    """One ranking of one pool: score and truth of shape (N,), finite; `truth` may be shared with other scores."""

    def __init__(self, score: Floats, truth: Floats | Truth) -> None:
        self.shared = truth if isinstance(truth, Truth) else Truth(truth)
        self.score, self.truth = score, self.shared.values

    def __len__(self) -> int:
        return len(self.score)

    @cached_property
    def score_groups(self) -> TieGroups:
        """Tie groups of the score."""
        return TieGroups(self.score)

    @property
    def truth_groups(self) -> TieGroups:
        """Tie groups of the truth."""
        return self.shared.groups

    @property
    def once(self) -> Counts:
        """The pool as a resample: every architecture once."""
        return self.shared.once
