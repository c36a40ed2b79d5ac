"""Which figures a table gets, and the data they need, all of it taken from stored scores."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from benchmarks.metrics import METRICS, overlap_curve, runs_summary
from benchmarks.report.cells import number
from benchmarks.report.figures import Bar, OverlapCurve, TrainingCurve, bars, hexbin, overlap, scatter, training
from benchmarks.report.leaderboard import TAU, Row, Table
from benchmarks.report.pool import Floats, mean_of_trials, paired, trials
from benchmarks.report.style import png
from benchmarks.report.tasks import seed_of

if TYPE_CHECKING:
    from benchmarks.record import Run


@dataclass(frozen=True)
class Plot:
    """A figure with its file name (without ending), caption and table."""

    name: str
    caption: str
    figure: Figure
    kind: str

    @cached_property
    def png(self) -> bytes:
        """The figure as PNG, drawn once."""
        return png(self.figure)


def slug(text: str) -> str:
    """Return a file name of text: lower-case letters, digits and hyphens, with a hash where something was lost."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    kept = re.sub(r"[ ,_()=.-]", "", text.lower()).isascii() and re.fullmatch(r"[\w ,()=.@+-]*", text)
    return plain if kept and plain else f"{plain or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def table_slug(table: Table) -> str:
    """Return a short name of a table for file names."""
    task = table.task
    return slug("-".join(p for p in (task.space, task.truth, task.pool, task.images, task.preset, table.view) if p))


def plots(table: Table) -> Iterator[Plot]:
    """Yield the figures of a table; what was not run, or has no value, is not shown."""
    base = table_slug(table)
    rows = [
        r for r in table.rows if r.role not in ("ceiling", "chance") and r.run_ids and r.tau(table.view) is not None
    ]
    if not rows:
        return
    yield Plot(f"{base}-leaderboard", _bars_caption(table), _bars(table, rows), "leaderboard")
    yield _overlap(table, rows)
    lines, subset = training_curves(table, rows)
    if lines:
        yield Plot(
            f"{base}-training", _training_caption(lines, subset), _training(table, rows, lines, subset), "training"
        )
    for row in rows:
        run = _run(table, row.run_ids[0])
        score, truth = paired(run, table.task.truth, row.column, table.view)
        title = f"{row.label}, seed {seed_of(run.record)}" if len(row.seeds) > 1 else row.label
        note = _tau_note(run, row, table)
        name = slug(row.label if row.primary else f"{row.label} {row.column}")
        shared = f"{row.label}, {row.column}, {len(truth):,} architectures, view '{table.view}', {note}."
        drawn = scatter(
            score,
            truth,
            title=title,
            annotation=note,
            score_label=f"score: {row.column}",
            truth_label=f"stand-alone accuracy, {table.task.truth} (%)",
        )
        yield Plot(f"{base}-scatter-{name}", f"Score against stand-alone accuracy. {shared}", drawn, "scatter")
        drawn = hexbin(score, truth, title=title, annotation=note)
        yield Plot(f"{base}-ranks-{name}", f"Rank by score against rank by ground truth. {shared}", drawn, "ranks")


def _overlap(table: Table, rows: list[Row]) -> Plot:
    """Draw P@K of the competitors and of the best free baseline: chance and a ranking by size are lines already."""
    curves = overlap_curves(table, [r for r in rows if r.role != "baseline" or r is table.floor])
    ceiling = ceiling_curve(table)
    caption = (
        "Share of the truly best K among the predicted best K, mean over seeds; the dotted line marks the top 5 %."
    )
    if ceiling is not None:
        caption += f" Noise ceiling: the {ceiling[2]:,} architectures with every training seed, K scaled to the pool."
    figure = overlap(
        curves,
        title="Finding the best",
        caption=f"{table.task.truth}, mean over seeds",
        n=_size(table, rows[0]),
        ceiling=ceiling[:2] if ceiling else None,
    )
    return Plot(f"{table_slug(table)}-overlap", caption, figure, "overlap")


def overlap_curves(table: Table, rows: list[Row]) -> list[OverlapCurve]:
    """Return P@K at log-spaced K per row, mean over its runs."""
    curves = []
    for row in rows:
        found = [
            overlap_curve(*paired(_run(table, i), table.task.truth, row.column, table.view)).precision
            for i in row.run_ids
        ]
        ks = _spaced(len(found[0]))
        curves.append(
            OverlapCurve(_name(row), row.estimator, row.role, ks, np.mean([p[ks - 1] for p in found], axis=0))
        )
    return curves


def ceiling_curve(table: Table) -> tuple[np.ndarray, Floats, int] | None:
    """Return K, P@K and the size of the noise ceiling: one training seed against the mean of the others, K scaled to
    the table's pool; None with fewer than two seeds. Views other than 'all' have no curve."""
    if table.view != "all" or not table.runs:
        return None
    accuracies = max((trials(r, table.task.truth) for r in table.runs), key=len)
    used = accuracies[~np.isnan(accuracies).any(axis=1)]
    if used.shape[1] < 2 or len(used) < 2:
        return None
    found = [overlap_curve(used[:, s], np.delete(used, s, axis=1).mean(axis=1)).precision for s in range(used.shape[1])]
    ks = _spaced(len(used))
    total = int((~np.isnan(mean_of_trials(accuracies))).sum())
    return ks * (total / len(used)), np.mean([p[ks - 1] for p in found], axis=0), len(used)


def training_curves(table: Table, rows: list[Row]) -> tuple[list[TrainingCurve], list[str]]:
    """Return tau along training per row that has curves, and the architectures it was measured on."""
    curves: list[TrainingCurve] = []
    subset: list[str] = []
    for row in rows:
        seeds: list[dict[int, float]] = []
        for run in (_run(table, i) for i in row.run_ids):
            if run.curve is None or row.column not in run.curve or not len(run.curve):
                continue
            points = {}
            for passes, part in run.curve.groupby("passes"):
                score, truth = paired(run, table.task.truth, row.column, table.view, part)
                value = METRICS[TAU](score, truth, np.random.default_rng(0))
                points[int(passes)] = np.nan if value is None else value
            seeds.append(points)
            subset = subset or list(dict.fromkeys(run.curve["architecture"]))
        if not seeds:
            continue
        passes = np.array(sorted(set().union(*seeds)), dtype=np.int64)
        tau = np.array([[s.get(int(p), np.nan) for p in passes] for s in seeds])
        limits = [runs_summary([None if np.isnan(v) else float(v) for v in column]) for column in tau.T]
        low, high = (np.array([getattr(x, k) for x in limits], dtype=np.float64) for k in ("low", "high"))
        banded = bool(np.isfinite(low).any())
        curves.append(
            TrainingCurve(
                _name(row), row.estimator, row.role, passes, tau, low if banded else None, high if banded else None
            )
        )
    return curves, subset


def _training(table: Table, rows: list[Row], lines: list[TrainingCurve], subset: list[str]) -> Figure:
    floor = None
    if table.floor is not None and table.floor.run_ids:
        run = _run(table, table.floor.run_ids[0])
        part = run.scores[run.scores["architecture"].isin(subset)]
        value = None
        if len(part) > 1:
            score, truth = paired(run, table.task.truth, table.floor.column, table.view, part)
            value = METRICS[TAU](score, truth, np.random.default_rng(0))
        floor = (table.floor.label, value) if value is not None else None
    return training(
        lines,
        title="Ranking along training",
        caption=f"{table.task.truth}, {len(subset):,} architectures, mean over seeds",
        axis_label="Kendall's τ",
        floor=floor,
    )


def _training_caption(lines: list[TrainingCurve], subset: list[str]) -> str:
    counts = sorted({len(line.tau) for line in lines})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"Kendall's τ along training, on a fixed subset of {len(subset):,} architectures: thin lines are seeds "
        f"({seeds} per estimator), thick ones their mean, the band the 95 % Student t interval over seeds (from three "
        "on). The floor is measured on the same subset."
    )


def _bars(table: Table, rows: list[Row]) -> Figure:
    data = []
    for row in rows:
        cell = row.cells[table.view, TAU]
        data.append(Bar(_name(row), row.estimator, row.role, cell.value or 0.0, cell.low, cell.high, cell.values))
    floor = (table.floor.label, table.floor.tau(table.view) or 0.0) if table.floor else None
    axis = f"Kendall's τ, {table.task.truth}, {_size(table, rows[0]):,} architectures"
    return bars(data, title=table.task.title, axis_label=axis, ceiling=table.ceiling, floor=floor)


def _bars_caption(table: Table) -> str:
    return (
        "Kendall's τ with its 95 % interval; dots are seeds, hatched bars free baselines, lines the noise ceiling and "
        f"the best free baseline. {table.caption}"
    )


def _tau_note(run: Run, row: Row, table: Table) -> str:
    """Return tau of one run with its pool interval, as its record has it."""
    for m in run.record["metrics"]:
        if (m["truth"], m["view"], m["column"], m["key"]) == (table.task.truth, table.view, row.column, TAU):
            if m.get("value") is None:
                return f"τ undefined: {m.get('undefined')}"
            text = f"τ = {number(m['value'])}"
            return text if m.get("low") is None else f"{text} [{number(m['low'])}, {number(m['high'])}]"
    return "τ not in the record"


def _name(row: Row) -> str:
    return row.label if row.primary else f"{row.label} [{row.column}]"


def _run(table: Table, run_id: str) -> Run:
    return next(r for r in table.runs if r.record["run_id"] == run_id)


def _size(table: Table, row: Row) -> int:
    return table.n or len(paired(_run(table, row.run_ids[0]), table.task.truth, row.column, table.view)[0])


def _spaced(n: int) -> np.ndarray:
    """Return about 60 counts from 1 to n, evenly spaced on a log axis."""
    return np.unique(np.round(np.geomspace(1, n, 60)).astype(np.int64))
