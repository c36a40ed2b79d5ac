"""Which figures a table gets, and the data they need, all from stored scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure

from supertau.benchmarks.record import Role
from supertau.benchmarks.report.curves import ceiling_curve, floor_on, overlap_curves, training_curves
from supertau.benchmarks.report.figures import Bar, TrainingCurve, bars, hexbin, overlap, scatter, training
from supertau.benchmarks.report.judged import Judged
from supertau.benchmarks.report.names import file_names
from supertau.benchmarks.report.numbers import number
from supertau.benchmarks.report.style import png
from supertau.benchmarks.report.table import TAU, Row, Table


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


def plots(table: Table) -> Iterator[Plot]:
    """Yield the figures of a table; what was not run, or has no value, is not shown."""
    lines_only = (Role.CEILING, Role.CHANCE)
    rows = [r for r in table.rows if r.role not in lines_only and r.run_ids and r.tau(table.view) is not None]
    if not rows:
        return
    yield Plot(f"{table.name}-leaderboard", _bars_caption(table), _bars(table, rows), "leaderboard")
    yield _overlap(table, rows)
    lines, subset = training_curves(table, rows)
    if lines:
        figure = _training(table, lines, subset)
        yield Plot(f"{table.name}-training", _training_caption(lines, subset), figure, "training")
    names = file_names([(row.name, f"{row.group} {row.name}") for row in rows])
    for row, name in zip(rows, names, strict=True):
        yield from _of_row(table, row, name)


def _of_row(table: Table, row: Row, name: str) -> Iterator[Plot]:
    """Yield score against accuracy, and rank against rank, of the first seed of a row."""
    one = table.runs_of(row)[0]
    pair = one.pair(row.column, table.view)
    if pair is None:
        return
    score, truth = pair
    title = f"{row.label}, seed {one.record.seed}" if len(row.seeds) > 1 else row.label
    note = _tau_note(one, row, table)
    shared = f"{row.label}, {row.column}, {len(truth):,} architectures, view '{table.view}', {note}."
    figure = scatter(
        score,
        truth,
        title=title,
        annotation=note,
        score_label=f"score: {row.column}",
        truth_label=f"stand-alone accuracy, {table.task.dataset} (%)",
    )
    yield Plot(f"{table.name}-scatter-{name}", f"Score against stand-alone accuracy. {shared}", figure, "scatter")
    figure = hexbin(score, truth, title=title, annotation=note)
    yield Plot(f"{table.name}-ranks-{name}", f"Rank by score against rank by ground truth. {shared}", figure, "ranks")


def _overlap(table: Table, rows: list[Row]) -> Plot:
    """Draw P@K of the competitors and of the best free baseline: chance and a ranking by size are lines already."""
    curves = overlap_curves(table, [r for r in rows if r.role is not Role.BASELINE or r is table.floor])
    ceiling = ceiling_curve(table, rows[0])
    caption = (
        "Share of the truly best K among the predicted best K, mean over seeds; the dotted line marks the top 5 %."
    )
    if ceiling is not None:
        caption += f" Noise ceiling: the {ceiling[2]:,} architectures with every training seed, K scaled to the pool."
    figure = overlap(
        curves,
        title="Finding the best",
        caption=f"{table.task.dataset}, mean over seeds",
        n=_size(table, rows[0]),
        ceiling=ceiling[:2] if ceiling else None,
    )
    return Plot(f"{table.name}-overlap", caption, figure, "overlap")


def _training(table: Table, lines: list[TrainingCurve], subset: list[str]) -> Figure:
    return training(
        lines,
        title="Ranking along training",
        caption=f"{table.task.dataset}, {len(subset):,} architectures, mean over seeds",
        axis_label="Kendall's τ",
        floor=floor_on(table, subset),
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
        data.append(Bar(row.name, row.estimator, row.role, cell.value or 0.0, cell.low, cell.high, cell.values))
    floor = (table.floor.label, table.floor.tau(table.view) or 0.0) if table.floor else None
    axis = f"Kendall's τ, {table.task.dataset}, {_size(table, rows[0]):,} architectures"
    return bars(data, title=table.title, axis_label=axis, ceiling=table.ceiling, floor=floor)


def _bars_caption(table: Table) -> str:
    return (
        "Kendall's τ with its 95 % interval; dots are seeds, hatched bars free baselines, lines the noise ceiling and "
        f"the best free baseline. {table.caption}"
    )


def _tau_note(one: Judged, row: Row, table: Table) -> str:
    """Return tau of one run with its pool interval, as its record has it."""
    entry = one.find(table.view, row.column, TAU)
    if entry is None:
        return "τ not in the record"
    if entry.value is None:
        return f"τ undefined: {entry.undefined}"
    text = f"τ = {number(entry.value)}"
    return text if entry.low is None else f"{text} [{number(entry.low)}, {number(entry.high)}]"


def _size(table: Table, row: Row) -> int:
    """Return how many architectures are ranked; the most common count where rows differ."""
    cell = row.cell(table.view, TAU)
    return table.n or (cell.n if cell and cell.n else 0)
