"""What a metric is: one entry that knows its names, its bounds, its chance level and how it is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from supertau.benchmarks.metrics.counts import Weighted
from supertau.benchmarks.metrics.groups import Floats
from supertau.benchmarks.metrics.pool import Pool, check_pool
from supertau.search_spaces.errors import SupertauError

TOP_TIED = "undefined: score or ground truth is constant inside the top K"


@dataclass(frozen=True)
class Estimate:
    """A value with its interval [low, high]; `undefined` says why there is no value."""

    value: float | None
    low: float | None = None
    high: float | None = None
    undefined: str | None = None


Function = Callable[[Floats, Floats, np.random.Generator], float | None]
Protocol = Callable[[Floats, Floats, np.random.Generator, int], Mapping[str, Estimate]]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to judge a ranking: everything that the suite knows about it.

    Names: key in records; label in sentences; short in the head of a table, printed with `digits` decimals. `shown`:
    stands in the printed tables, in the order of the registry; files hold every metric.
    Range: bounds, the least and the largest possible value; direction, 'up' when larger is better; chance, the value of
    a random ranking of N architectures, None where it depends on the ground truth, then `chance_of_truth` gives it.
    Where it applies: views, the only views of a pool it is computed on, None for every view; least, the smallest pool;
    k, the K of top-K metrics, a count (int) or a ratio (float). counts_hits: the value is a share of K hits.

    How it is computed, by one of three, of which the first that is given sets the value:
    - function: from finite score and truth of shape (N,) and a generator for tie-breaks; None where undefined.
    - weighted: prepares a pool for many resamples at once. Without it the function is called per resample.
    - protocol: from score, truth, a generator and the number of resamples, value and interval of each of several
      metrics by key, which draw their own pools from the architectures; entries with one protocol share one call.
    """

    key: str
    label: str
    short: str
    direction: Literal["up", "down"]
    bounds: tuple[float, float]
    chance: Callable[[int], float | None]
    description: str
    source: str
    digits: int = 3
    shown: bool = False
    chance_of_truth: Callable[[Floats], float] | None = None
    views: tuple[str, ...] | None = None
    least: int = 2
    k: int | float | None = None
    counts_hits: bool = False
    function: Function | None = None
    weighted: Callable[[Pool, np.random.Generator], Weighted] | None = None
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        if self.protocol is None and self.function is None and self.weighted is None:
            raise SupertauError(f"metric '{self.key}' needs a function, a weighted form or a protocol.")
        if self.protocol is not None and (self.function is not None or self.weighted is not None):
            raise SupertauError(f"metric '{self.key}' has a protocol, which leaves nothing to a function.")

    def __call__(self, score: npt.ArrayLike, truth: npt.ArrayLike, rng: np.random.Generator) -> float | None:
        """Return the value for score and truth (percent) of shape (N,), or None; raise PoolError as `check_pool`."""
        return self.value(Pool(*check_pool(score, truth)), rng)

    def value(self, pool: Pool, rng: np.random.Generator, prepared: Weighted | None = None) -> float | None:
        """Return the value for a pool, or None; prepared: what `weighted` made of it, where that is known."""
        if self.blocked(pool.score, pool.truth):
            return None
        if self.protocol is not None:
            return self.protocol(pool.score, pool.truth, rng, 0)[self.key].value
        if self.function is not None:
            return self.function(pool.score, pool.truth, rng)
        assert self.weighted is not None
        value = float((prepared or self.weighted(pool, rng))(pool.once)[0])
        return None if math.isnan(value) else value

    def applies(self, view: str | None, n: int) -> bool:
        """Return whether it is computed on a view (None: of unknown name) of n architectures."""
        return n >= self.least and (self.views is None or view is None or view in self.views)

    def blocked(self, score: Floats, truth: Floats) -> str | None:
        """Return why no value exists for this pool, or None."""
        least = max(self.least, self.k) if isinstance(self.k, int) else self.least
        if len(score) < least:
            return f"undefined: the pool has fewer than {least} architectures"
        for what, values in (("score", score), ("ground truth", truth)):
            if (values == values[0]).all():
                return f"undefined: constant {what}"
        return None
