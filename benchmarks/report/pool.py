"""Scores and ground truth of a run, lined up as a view of its pool: what the figures draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from supertau.benchmarks.judging.judge import View, views
from supertau.search_spaces.errors import DataError

if TYPE_CHECKING:
    from supertau.benchmarks.record import Run

Floats = npt.NDArray[np.float64]


def view_of(run: Run, truth: str, column: str, view: str, scores: pd.DataFrame | None = None) -> View | None:
    """Return one score column and the ground-truth trials of a view of a run's pool, as its metrics were computed.

    scores: a frame with `architecture` and the column, of any part of the pool, in place of the run's final scores;
    architectures whose score is not finite are left out of it. None when the view has no two architectures. Raises
    DataError for an architecture outside the pool, UnknownName for a truth the record does not hold.
    """
    given = run.scores if scores is None else scores[np.isfinite(scores[column])]
    given = given[["architecture", column]].reset_index(drop=True)
    table = run.truth
    if scores is not None:
        rows = pd.Index(table["architecture"]).get_indexer(given["architecture"])
        if (rows < 0).any():
            first = given["architecture"][rows < 0].iloc[0]
            raise DataError(
                f"run {run.record['run_id']}: '{first}' has a score but is not in its pool. "
                "Run it again with --restart."
            )
        table = table.iloc[rows].reset_index(drop=True)
    if len(given) < 2:
        return None
    left_out = (run.record.get("judged") or {}).get("left_out_trial") if run.record.get("role") == "ceiling" else None
    chance = ((run.record.get("truths") or {}).get(truth) or {}).get("chance")
    return next((v for v in views(given, table, truth, left_out, chance) if v.name == view and len(v.names) > 1), None)


def paired(
    run: Run, truth: str, column: str, view: str, scores: pd.DataFrame | None = None
) -> tuple[Floats, Floats] | None:
    """Return score and mean accuracy (percent), both of shape (M,), of a view; parameters and errors as `view_of`."""
    found = view_of(run, truth, column, view, scores)
    return None if found is None else (found.scores[0], found.truth)
