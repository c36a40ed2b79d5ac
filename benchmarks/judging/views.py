"""Views: ways to look at a pool. One table of what they are; every metric is computed on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from supertau.benchmarks.metrics import merge_classes
from supertau.benchmarks.record import TruthInfo
from supertau.search_spaces.errors import DataError

Floats = npt.NDArray[np.float64]

FAILED = 1.5
"""Times the accuracy of a guess: a stand-alone training that ends below it counts as failed."""
PART = "part:"
"""Prefix of the columns of a truth table that mark an estimator's own parts of the pool."""


@dataclass(frozen=True)
class ViewKind:
    """What one view is. caption: in a table's caption; beside: the view whose tau stands beside it in tables."""

    name: str
    caption: str
    beside: str = "all"


VIEWS: dict[str, ViewKind] = {
    kind.name: kind
    for kind in (
        ViewKind("all", "isomorphic architectures counted apart", beside="unique"),
        ViewKind("unique", "one entry per isomorphism class, scores and truth averaged"),
        ViewKind("connected", "only architectures with a path from input to output"),
        ViewKind("trained", "without architectures whose stand-alone training failed"),
    )
}
"""An estimator may add parts of its own (`Estimator.parts`); `view_kind` knows them, too."""


def view_kind(name: str) -> ViewKind:
    """Return what a view is; of an estimator's own part only its name is known."""
    return VIEWS.get(name, ViewKind(name, "a part of the pool that the estimator marks"))


@dataclass(frozen=True, eq=False)
class View:
    """One view of one pool. scores: (columns, N); trials: (N, S) percent, NaN where missing; names: N texts."""

    name: str
    scores: Floats
    trials: Floats
    names: list[str]

    @property
    def truth(self) -> Floats:
        """Mean accuracy over the trials that exist, shape (N,)."""
        return np.asarray(np.nanmean(self.trials, axis=1))


def views(
    scores: pd.DataFrame, truth: pd.DataFrame, info: TruthInfo, left_out: str | None = None, only: str | None = None
) -> Iterator[View]:
    """Yield the views of a pool, those of two architectures or more.

    scores: architecture, and score columns. truth: the truth table, rows as in scores. info: whose columns judge.
    left_out: a training seed that must not judge (the noise ceiling's own). only: the one view that is wanted.
    Merging a class averages each trial over the members that have it. Raises DataError for tables that do not fit.
    """
    if list(scores["architecture"]) != list(truth["architecture"]):
        raise DataError("scores and ground truth list different architectures; run again with --restart.")
    columns = [c for c in truth.columns if str(c).startswith(f"{info.key}:") and c != f"{info.key}:{left_out}"]
    if not columns:
        raise DataError(f"the truth table has no column of '{info.key}'; run again with --restart.")
    values = scores.drop(columns="architecture").to_numpy(dtype=np.float64).T
    trials = truth[columns].to_numpy(dtype=np.float64)
    names = list(truth["architecture"])
    if only in (None, "all") and len(names) >= 2:
        yield View("all", values, trials, names)
    if only in (None, "unique"):
        merged, labels = merge_classes(values, truth["class"].to_numpy())
        of_class = truth.groupby("class", sort=True)[columns].mean().loc[labels].to_numpy(dtype=np.float64)
        if len(labels) >= 2:
            yield View("unique", merged, of_class, [str(label) for label in labels])
    members = {"connected": truth["connected"].to_numpy(dtype=bool)}
    members |= {c.removeprefix(PART): truth[c].to_numpy(dtype=bool) for c in truth.columns if c.startswith(PART)}
    if info.chance is not None:
        trained = np.nanmean(trials, axis=1) >= FAILED * info.chance
        if not trained.all():
            members["trained"] = trained
    for name, rows in members.items():
        if rows.sum() >= 2 and only in (None, name):
            kept = [n for n, keep in zip(names, rows, strict=True) if keep]
            yield View(name, values[:, rows], trials[rows], kept)
