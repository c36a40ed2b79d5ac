"""A finished run as one ground truth judges it: its scores and accuracies, lined up view by view.

Tables, checks and figures ask for the same pairs again and again, so each is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from supertau.benchmarks.judging.views import View, views
from supertau.benchmarks.record import Judgement, MetricRow, Record
from supertau.benchmarks.results import Run
from supertau.search_spaces.errors import DataError

Floats = npt.NDArray[np.float64]
Pair = tuple[Floats, Floats]
"""Scores and mean accuracies (percent) of the same architectures, both of shape (N,)."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A finished run and one of its judgements."""

    run: Run
    judgement: Judgement
    _views: dict[str, View | None] = field(init=False, default_factory=dict, repr=False)
    _pairs: dict[tuple[str, str], Pair | None] = field(init=False, default_factory=dict, repr=False)

    @property
    def record(self) -> Record:
        """The record of the run."""
        return self.run.record

    def find(self, view: str, column: str, key: str) -> MetricRow | None:
        """Return a metric as the record has it, None where it does not."""
        return self.judgement.find(view, column, key)

    def view(self, name: str) -> View | None:
        """Return a view of the pool with all score columns; None when it has no two architectures.

        Raises DataError for tables that do not fit together.
        """
        if name not in self._views:
            self._views[name] = self._view(self.run.scores, self.run.truth, name)
        return self._views[name]

    def pair(self, column: str, view: str) -> Pair | None:
        """Return a score column and the truth of a view, None when the view has no two architectures."""
        if (column, view) not in self._pairs:
            chosen = self.view(view)
            names = [c for c in self.run.scores.columns if c != "architecture"]
            self._pairs[column, view] = None if chosen is None else (chosen.scores[names.index(column)], chosen.truth)
        return self._pairs[column, view]

    def pair_of(self, scores: pd.DataFrame, column: str, view: str) -> Pair | None:
        """Return the pair of other scores of a part of the pool, such as those along training.

        scores: `architecture` and the column; architectures whose score is not finite are left out. None when fewer
        than two are left. Raises DataError for an architecture outside the pool.
        """
        given = scores.loc[np.isfinite(scores[column]), ["architecture", column]].reset_index(drop=True)
        rows = pd.Index(self.run.truth["architecture"]).get_indexer(given["architecture"])
        if (rows < 0).any():
            first = given["architecture"][rows < 0].iloc[0]
            raise DataError(
                f"run {self.record.run_id}: '{first}' has a score but is not in its pool. Run it again with --restart."
            )
        chosen = self._view(given, self.run.truth.iloc[rows].reset_index(drop=True), view)
        return None if chosen is None else (chosen.scores[0], chosen.truth)

    def _view(self, scores: pd.DataFrame, truth: pd.DataFrame, name: str) -> View | None:
        if len(scores) < 2:
            return None
        return next(views(scores, truth, self.judgement.truth, self.judgement.left_out, name), None)
