"""From runs to tables: which rows a table has, their order, their references and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from supertau.benchmarks.record import MetricRow, Record, Role
from supertau.benchmarks.report.cells import Cell, mean, mean_cost, summarise
from supertau.benchmarks.report.groups import Group, groups, labels
from supertau.benchmarks.report.judged import Judged
from supertau.benchmarks.report.names import file_names
from supertau.benchmarks.report.rejudging import rejudged
from supertau.benchmarks.report.table import TAU, Failure, Row, Table
from supertau.benchmarks.report.tasks import Members, Task, collect, reason_of, titles
from supertau.benchmarks.results import Run
from supertau.search_spaces.errors import DataError, unknown

Columns = Sequence[str] | str | None


def leaderboard(
    runs: Sequence[Run], *, truth: str | None = None, columns: Columns = None, view: str | None = None
) -> list[Table]:
    """Return one table per task.

    truth: only this one; runs that were judged by another are judged now where it is built in. A run whose tables are
    damaged has no row and is listed with the reason. columns: None for each
    estimator's declared primary, "all", or names of score columns. view: the main one, "all" when None. Raises
    UnknownName for a truth, column or view no record has.
    """
    main = view or "all"
    others = [(run, reason_of(run.record)) for run in runs if not run.finished]
    finished = []
    for run in (run for run in runs if run.finished):
        try:
            run.check()
            finished.append(run)
        except DataError as error:  # one damaged table costs one row
            others.append((run, str(error)))
    if truth is not None:
        finished, impossible = rejudged(finished, truth)
        others = [*others, *impossible]
    judged = [
        Judged(run, judgement)
        for run in finished
        for judgement in run.record.judgements
        if truth in (None, judgement.truth.dataset)
    ]
    if truth is None:
        others += [(run, "the run is finished, but was not judged") for run in finished if not run.record.judgements]
    views = {m.view for one in judged for m in one.judgement.metrics}
    if views and main not in views:
        raise unknown("view", main, views)
    if columns is not None and columns != "all":
        offered = {column for run in runs for column in run.record.columns}
        for column in [columns] if isinstance(columns, str) else columns:
            if column not in offered:
                raise unknown("score column", column, offered)
    tables = collect(judged, others, truth)
    headings = titles([t.task for t in tables])
    stems = file_names([(_stem(t.task, main), str(t.task.identity)) for t in tables])
    return [
        _table(members, title, name, main, columns)
        for members, title, name in zip(tables, headings, stems, strict=True)
    ]


def _stem(task: Task, view: str) -> str:
    """Return what a table is called in file names."""
    parts = (task.space, task.dataset, task.pool and task.pool.name, task.images and task.images.name, task.preset)
    return "-".join([*(part for part in parts if part), view])


def _table(members: Members, title: str, name: str, view: str, columns: Columns) -> Table:
    grouped = groups(members.judged)
    named = zip(labels(grouped), grouped, strict=True)
    rows = [row for label, group in named for row in _rows(label, group, columns)]
    if not any(r.role is Role.CEILING for r in rows):
        rows += _reference(rows, Role.CEILING, "Noise ceiling")
    rows += _reference(rows, Role.CHANCE, "Random order")
    counts = Counter(c.n for r in rows if (c := r.cell(view, TAU)) and c.n is not None)
    n = counts.most_common(1)[0][0] if counts else None
    rows.sort(key=lambda r: (r.tau(view) is None, -(r.tau(view) or 0.0), r.label, not r.primary, r.column))
    free = [r for r in rows if r.role is Role.BASELINE and r.primary and r.tau(view) is not None]
    judged = [_compared(r, view, free[0] if free else None, n) for r in rows]
    runs = tuple(one for group in grouped for one in group)
    pool = members.task.pool
    return Table(
        members.task,
        title,
        name,
        view,
        tuple(judged),
        tuple(_failure(run.record, reason) for run, reason in members.others),
        runs,
        tuple(members.pools) or ((pool.name,) if pool else ()),
        n,
        floor=judged[rows.index(free[0])] if free else None,
        ceiling=mean([r.tau(view) for r in rows if r.role is Role.CEILING]),
        network=_network(one.record for one in runs),
        repeated=len(members.judged) - len(runs),
    )


def _network(records: Iterable[Record]) -> str:
    """Say how large the supernets and their images are, where all estimators agree."""
    configs = [r.config for r in records if r.role is Role.ESTIMATOR and r.config is not None]
    sizes = {f"C = {c.channels}, N = {c.cells}, image side = {c.image_size}" for c in configs}
    return f"Supernets: {sizes.pop()}" if len(sizes) == 1 else ""


def _rows(label: str, group: Group, columns: Columns) -> list[Row]:
    first = group[0].record
    wanted = first.columns[:1] if columns is None else first.columns if columns == "all" else columns
    chosen = [c for c in first.columns if c in ([wanted] if isinstance(wanted, str) else wanted)]
    rows = []
    for column in chosen:
        entries: dict[tuple[str, str], list[MetricRow]] = {}
        for one in group:
            for m in one.judgement.metrics:
                if m.column == column:
                    entries.setdefault((m.view, m.key), []).append(m)
        rows.append(
            Row(
                label,
                first.estimator,
                first.role,
                column,
                column == first.primary,
                first.source,
                first.group,
                tuple(one.record.seed for one in group),
                tuple(one.record.run_id for one in group),
                {key: summarise(values) for key, values in entries.items()},
                mean_cost([one.record.cost for one in group]),
                tuple(sorted({e.device if (e := one.record.environment) else "unknown" for one in group})),
            )
        )
    return rows


def _reference(rows: Sequence[Row], role: Role, label: str) -> list[Row]:
    """Return a row of the records' own ceilings or chance levels, none where they have none."""
    cells: dict[tuple[str, str], Cell] = {}
    for row in rows:
        if not row.primary or row.role in (Role.CEILING, Role.CHANCE):
            continue
        for key, cell in row.cells.items():
            value = cell.ceiling if role is Role.CEILING else cell.chance
            if value is not None and key not in cells:
                cells[key] = Cell(value, values=(value,), n=cell.n)
    return [Row(label, role.value, role, "", cells=cells)] if cells else []


def _compared(row: Row, view: str, floor: Row | None, n: int | None) -> Row:
    """Add the verdict against the floor, and notes on what a reader would otherwise miss."""
    cell, remarks, verdict, below = row.cell(view, TAU), [], None, ""
    if not row.reference and floor is not None and cell is not None and cell.value is not None:
        bar = floor.tau(view) or 0.0
        verdict = (cell.low if cell.low is not None else cell.value) > bar
        if not verdict:
            below = f"not above the free baseline {floor.label}"
        elif cell.low is None:
            remarks.append("no interval")
    if cell is not None and cell.value is not None and cell.undefined:
        remarks.append(f"{len(cell.values)} of {cell.runs} runs have a tau; undefined: {cell.undefined}")
    if cell is not None and cell.n is not None and cell.n != n:
        remarks.append(f"judged on {cell.n:,} architectures")
    if not row.primary:
        remarks.append("not the declared primary column")
    return replace(row, verdict=verdict, below=below, remarks=tuple(remarks))


def _failure(record: Record, reason: str) -> Failure:
    return Failure(record.run_id, record.title, record.seed, record.status.value, reason)
