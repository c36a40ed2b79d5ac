"""The curves of a table: top-K overlap, its noise ceiling, and tau along training, from stored scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from supertau.benchmarks.metrics import METRICS, overlap_curve, runs_summary
from supertau.benchmarks.report.figures import OverlapCurve, TrainingCurve
from supertau.benchmarks.report.judged import Floats, Judged
from supertau.benchmarks.report.table import TAU, Row, Table

POINTS = 60
"""Counts K at which an overlap curve is drawn."""


def overlap_curves(table: Table, rows: Sequence[Row]) -> list[OverlapCurve]:
    """Return P@K at log-spaced K per row, mean over its runs."""
    curves = []
    for row in rows:
        pairs = [one.pair(row.column, table.view) for one in table.runs_of(row)]
        of_runs = [overlap_curve(*pair).precision for pair in pairs if pair is not None]
        if of_runs:
            ks = _spaced(len(of_runs[0]))
            precision = np.mean([p[ks - 1] for p in of_runs], axis=0)
            curves.append(OverlapCurve(row.name, row.estimator, row.role, ks, precision))
    return curves


def ceiling_curve(table: Table, row: Row) -> tuple[Floats, Floats, int] | None:
    """Return K, P@K and the number of architectures of the noise ceiling on a row's pool.

    One ground-truth seed against the mean of the others, averaged over the choice, on the architectures that have all
    seeds; K is scaled to the pool. None with a single seed.
    """
    view = table.runs_of(row)[0].view(table.view)
    if view is None:
        return None
    used = view.trials[~np.isnan(view.trials).any(axis=1)]
    if used.shape[1] < 2 or len(used) < 2:
        return None
    curves = [
        overlap_curve(used[:, s], np.delete(used, s, axis=1).mean(axis=1)).precision for s in range(used.shape[1])
    ]
    ks = _spaced(len(used))
    precision = np.mean([c[ks - 1] for c in curves], axis=0)
    return np.asarray(ks * (len(view.names) / len(used))), precision, len(used)


def training_curves(table: Table, rows: Sequence[Row]) -> tuple[list[TrainingCurve], list[str]]:
    """Return tau along training per row that was watched, and the architectures it was measured on."""
    curves: list[TrainingCurve] = []
    subset: list[str] = []
    for row in rows:
        curves_of = [(one, one.run.curve) for one in table.runs_of(row)]
        watched = [(one, curve) for one, curve in curves_of if curve is not None and row.column in curve]
        seeds = [
            {int(passes): tau_of(one, table, row, part) for passes, part in curve.groupby("passes")}
            for one, curve in watched
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
    one = table.runs_of(table.floor)[0]
    scores = one.run.scores
    value = tau_of(one, table, table.floor, scores[scores["architecture"].isin(list(subset))])
    return None if np.isnan(value) else (table.floor.label, value)


def tau_of(one: Judged, table: Table, row: Row, scores: pd.DataFrame) -> float:
    """Return tau of some scores of a run on the table's truth and view, NaN where it is undefined."""
    pair = one.pair_of(scores, row.column, table.view)
    value = None if pair is None else METRICS[TAU](*pair, np.random.default_rng(0))
    return float("nan") if value is None else value


def _spaced(n: int) -> npt.NDArray[np.int64]:
    """Return about POINTS counts from 1 to n, evenly spaced on a log axis."""
    return np.unique(np.round(np.geomspace(1, n, POINTS)).astype(np.int64))
