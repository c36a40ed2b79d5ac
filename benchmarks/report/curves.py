"""The curves of a table: top-K overlap, its noise ceiling, and tau along training, from stored scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from supertau.benchmarks.metrics import METRICS, overlap_curve, runs_summary
from supertau.benchmarks.record import Run
from supertau.benchmarks.report.figures import OverlapCurve, TrainingCurve
from supertau.benchmarks.report.leaderboard import TAU, Row, Table
from supertau.benchmarks.report.pool import Floats, paired, view_of

POINTS = 60
"""Counts K at which an overlap curve is drawn."""


def overlap_curves(table: Table, rows: Sequence[Row]) -> list[OverlapCurve]:
    """Return P@K at log-spaced K per row, mean over its runs."""
    curves = []
    for row in rows:
        pairs = [paired(run, table.task.truth, row.column, table.view) for run in table.runs_of(row)]
        found = [overlap_curve(*pair).precision for pair in pairs if pair is not None]
        if found:
            ks = _spaced(len(found[0]))
            precision = np.mean([p[ks - 1] for p in found], axis=0)
            curves.append(OverlapCurve(row.name, row.estimator, row.role, ks, precision))
    return curves


def ceiling_curve(table: Table, row: Row) -> tuple[Floats, Floats, int] | None:
    """Return K, P@K and the number of architectures of the noise ceiling on a row's pool.

    One ground-truth seed against the mean of the others, averaged over the choice, on the architectures that have all
    seeds; K is scaled to the pool. None with a single seed.
    """
    found = view_of(table.runs_of(row)[0], table.task.truth, row.column, table.view)
    if found is None:
        return None
    used = found.trials[~np.isnan(found.trials).any(axis=1)]
    if used.shape[1] < 2 or len(used) < 2:
        return None
    curves = [
        overlap_curve(used[:, s], np.delete(used, s, axis=1).mean(axis=1)).precision for s in range(used.shape[1])
    ]
    ks = _spaced(len(used))
    precision = np.mean([c[ks - 1] for c in curves], axis=0)
    return np.asarray(ks * (len(found.names) / len(used))), precision, len(used)


def training_curves(table: Table, rows: Sequence[Row]) -> tuple[list[TrainingCurve], list[str]]:
    """Return tau along training per row that was watched, and the architectures it was measured on."""
    curves: list[TrainingCurve] = []
    subset: list[str] = []
    for row in rows:
        watched = [(r, r.curve) for r in table.runs_of(row) if r.curve is not None and row.column in r.curve]
        seeds = [
            {int(passes): tau_of(run, table, row, part) for passes, part in curve.groupby("passes")}
            for run, curve in watched
        ]
        if not any(seeds):
            continue
        subset = subset or list(dict.fromkeys(watched[0][1]["architecture"]))
        passes = np.array(sorted({p for seed in seeds for p in seed}), dtype=np.int64)
        tau = np.array([[seed.get(int(p), np.nan) for p in passes] for seed in seeds])
        limits = [runs_summary([None if np.isnan(v) else float(v) for v in column]) for column in tau.T]
        low, high = (np.array([getattr(limit, end) for limit in limits], dtype=np.float64) for end in ("low", "high"))
        band = (low, high) if np.isfinite(low).any() else (None, None)
        curves.append(TrainingCurve(row.name, row.estimator, row.role, passes, tau, *band))
    return curves, subset


def floor_on(table: Table, subset: Sequence[str]) -> tuple[str, float] | None:
    """Return label and tau of the best free baseline on some architectures, None where there is none."""
    if table.floor is None:
        return None
    run = table.runs_of(table.floor)[0]
    value = tau_of(run, table, table.floor, run.scores[run.scores["architecture"].isin(list(subset))])
    return None if np.isnan(value) else (table.floor.label, value)


def tau_of(run: Run, table: Table, row: Row, scores: pd.DataFrame) -> float:
    """Return tau of some scores of a run on the table's truth and view, NaN where it is undefined."""
    pair = paired(run, table.task.truth, row.column, table.view, scores)
    value = None if pair is None else METRICS[TAU](*pair, np.random.default_rng(0))
    return float("nan") if value is None else value


def _spaced(n: int) -> npt.NDArray[np.int64]:
    """Return about POINTS counts from 1 to n, evenly spaced on a log axis."""
    return np.unique(np.round(np.geomspace(1, n, POINTS)).astype(np.int64))
