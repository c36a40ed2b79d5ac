"""Scores and ground truth of a run, lined up as a view of its pool: what the figures draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.metrics import merge_classes
from search_spaces.errors import DataError

if TYPE_CHECKING:
    from benchmarks.record import Run

Floats = npt.NDArray[np.float64]


def trials(run: Run, truth: str) -> Floats:
    """Return the ground truth of a run's pool per training seed, shape (N, S), NaN where a seed does not exist."""
    dataset = str(((run.record.get("truths") or {}).get(truth) or {}).get("dataset") or truth)
    for prefix in (truth, dataset):
        columns = [c for c in run.truth.columns if str(c).startswith(f"{prefix}:")]
        if columns:
            return run.truth[columns].to_numpy(dtype=np.float64)
    raise DataError(f"run {run.record['run_id']}: truth.parquet has no column '{truth}:<seed>'; run it again.")


def mean_of_trials(table: Floats) -> Floats:
    """Return the mean over the seeds that exist, shape (N,), NaN where none does."""
    known = ~np.isnan(table)
    count = known.sum(axis=1)
    return np.divide(np.where(known, table, 0.0).sum(axis=1), count, out=np.full(len(table), np.nan), where=count > 0)


def paired(run: Run, truth: str, column: str, view: str, scores: pd.DataFrame | None = None) -> tuple[Floats, Floats]:
    """Return score and truth (percent), both of shape (M,), of a view of the pool: all, unique or connected.

    scores: a frame with `architecture` and `column` in place of the run's final scores, any subset of the pool.
    Architectures without ground truth are left out. Raises DataError for an architecture outside the pool.
    """
    frame = pd.DataFrame(
        {
            "architecture": run.truth["architecture"].to_numpy(),
            "truth": mean_of_trials(trials(run, truth)),
            "class": run.truth["class"].to_numpy(),
            "connected": run.truth["connected"].to_numpy(dtype=bool),
        }
    )
    given = run.scores if scores is None else scores
    try:
        frame = frame.set_index("architecture").loc[given["architecture"]]
    except KeyError as error:
        raise DataError(f"run {run.record['run_id']}: scored architectures are not in its pool: {error}") from error
    frame["score"] = given[column].to_numpy(dtype=np.float64)
    frame = frame[frame["truth"].notna() & np.isfinite(frame["score"])]
    if view == "connected":
        frame = frame[frame["connected"]]
    score, accuracy = frame["score"].to_numpy(), frame["truth"].to_numpy()
    if view == "unique" and len(frame):
        merged, _ = merge_classes(np.stack([score, accuracy]), frame["class"].to_numpy(dtype=str))
        return merged[0], merged[1]
    return score, accuracy
