"""The leaderboard as data: one table per task, one row per estimator and score column, ready for any writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from supertau.benchmarks.report.cells import Cell, mean, summarise
from supertau.benchmarks.report.rejudge import judged_by
from supertau.benchmarks.report.tasks import Task, collect, differences, groups, seed_of
from supertau.search_spaces.errors import unknown

if TYPE_CHECKING:
    from supertau.benchmarks.record import Run

TAU = "kendall_tau"
SHOWN = ("p_at_top_5pct", "hits_at_10", "local_tau_at_10")
"""Metrics beside tau in the printed tables, in their first variant; the CSV holds every metric and variant."""
OTHER_VIEW = {"all": "unique", "unique": "all", "connected": "all"}
COSTS = (
    "train_images",
    "score_images",
    "train_seconds",
    "score_seconds",
    "peak_memory_bytes",
    "supernet_parameters",
)


@dataclass(frozen=True)
class Row:
    """One line: an estimator's group of seeds (or a reference), one score column, and its cells by (view, metric).

    verdict: True when the tau interval lies above the best free baseline, False when it does not, None for references
    and where there is nothing to compare. cost: means over seeds; devices: where it ran.
    """

    label: str
    estimator: str
    role: str
    column: str
    primary: bool = True
    source: str = ""
    group: str = ""
    seeds: tuple[int, ...] = ()
    run_ids: tuple[str, ...] = ()
    cells: Mapping[tuple[str, str], Cell] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    verdict: bool | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The label, with the score column where it is not the primary one."""
        return self.label if self.primary or not self.column else f"{self.label} [{self.column}]"

    @property
    def reference(self) -> bool:
        """Whether the row is something to measure others by, not a competitor."""
        return self.role in ("baseline", "ceiling", "chance")

    def cell(self, view: str, key: str) -> Cell | None:
        """Return one cell, None where the record has no such metric."""
        return self.cells.get((view, key))

    def tau(self, view: str) -> float | None:
        """Return the mean tau of a view."""
        cell = self.cell(view, TAU)
        return cell.value if cell else None


@dataclass(frozen=True)
class Failure:
    """A run without a result: its label, seed and message."""

    run_id: str
    label: str
    seed: int
    status: str
    message: str


@dataclass(frozen=True)
class Table:
    """One task: rows by falling tau, what failed, and where the truth comes from. floor: best free
    baseline row. doubts: where records disagree with their scores, filled in by `report`."""

    task: Task
    view: str
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]
    provenance: Mapping[str, Any]
    runs: tuple[Run, ...]
    n: int | None
    floor: Row | None
    ceiling: float | None
    network: str = ""
    repeated: int = 0
    doubts: tuple[str, ...] = ()

    @property
    def other_view(self) -> str:
        """The view whose tau stands beside the main one."""
        return OTHER_VIEW.get(self.view, "all")

    @property
    def caption(self) -> str:
        """What the numbers are: truth with source, split, epochs and seeds, number of architectures, pool, view."""
        p = self.provenance
        seeds = p.get("seeds") or []
        known = [
            ("data set", p.get("dataset") or self.task.truth),
            ("split", p.get("split")),
            ("epochs", p.get("epochs")),
            ("source", p.get("source")),
        ]
        truth = ", ".join(f"{name} {value}" for name, value in known if value is not None)
        if seeds:
            truth += f", mean over training seeds {', '.join(map(str, seeds))} (those that exist for an architecture)"
        count = "an unknown number of" if self.n is None else f"{self.n:,}"
        kind = {
            "all": "isomorphic architectures counted apart",
            "unique": "one entry per isomorphism class, scores and truth averaged",
            "connected": "only architectures with a path from input to output",
            "trained": "without architectures whose stand-alone training failed",
        }.get(self.view, "")
        pool = f"pool '{self.task.pool}'" if self.task.pool else "pool as recorded"
        extra = f" {self.network}." if self.network else ""
        if self.repeated:
            extra += f" {self.repeated} earlier run(s) of a configuration run again are left out."
        return (
            f"Ground truth: {truth}. Ranked: {count} architectures, {pool}, "
            f"view '{self.view}'{f' ({kind})' if kind else ''}.{extra}"
        )

    def runs_of(self, row: Row) -> list[Run]:
        """Return the runs behind a row, seeds in order."""
        return [r for r in self.runs if r.record["run_id"] in row.run_ids]


def leaderboard(
    runs: Sequence[Run],
    *,
    truth: str | None = None,
    columns: Sequence[str] | str | None = None,
    view: str | None = None,
) -> list[Table]:
    """Return one table per task.

    truth: only this one; runs that hold its trials but were judged by another are judged now. columns: None for each
    estimator's declared primary, "all", or names of score columns. view: the main one, "all" when None. Raises
    UnknownName for a truth, column or view no record has.
    """
    main = view or "all"
    if truth is not None:
        runs = judged_by(runs, truth)
        known = {t for r in runs for t in r.record.get("truths") or {}} | {
            str(m["truth"]) for r in runs for m in r.record.get("metrics") or []
        }
        if truth not in known:
            raise unknown("ground truth", truth, known)
    views = {str(m["view"]) for r in runs for m in r.record.get("metrics") or []}
    if views and main not in views:
        raise unknown("view", main, views)
    if columns is not None and columns != "all":
        offered = {str(c) for r in runs for c in r.record.get("columns") or []}
        for column in [columns] if isinstance(columns, str) else columns:
            if column not in offered:
                raise unknown("score column", column, offered)
    return [_table(task, members, main, columns) for task, members in collect(runs, truth).items()]


def _table(task: Task, runs: Sequence[Run], view: str, columns: Sequence[str] | str | None) -> Table:
    finished = groups([r for r in runs if r.record["status"] == "finished"])
    labels = _labels(finished)
    rows = [row for key, members in finished.items() for row in _rows(task, labels[key], members, columns)]
    if not any(r.role == "ceiling" for r in rows):
        rows += _reference(rows, "ceiling", "Noise ceiling")
    rows += _reference(rows, "chance", "Random order")
    counts = Counter(c.n for r in rows if (c := r.cell(view, TAU)) and c.n is not None)
    n = counts.most_common(1)[0][0] if counts else None
    rows.sort(key=lambda r: (r.tau(view) is None, -(r.tau(view) or 0.0), r.label, not r.primary, r.column))
    free = [r for r in rows if r.role == "baseline" and r.primary and r.tau(view) is not None]
    judged = [_judge(r, view, free[0] if free else None, n) for r in rows]
    provenance: Mapping[str, Any] = next(
        (r.record["truths"][task.truth] for r in runs if task.truth in (r.record.get("truths") or {})), {}
    )
    failures = tuple(_failure(r.record) for r in runs if r.record["status"] != "finished")
    return Table(
        task,
        view,
        tuple(judged),
        failures,
        provenance,
        tuple(r for g in finished.values() for r in g),
        n,
        floor=judged[rows.index(free[0])] if free else None,
        ceiling=mean([r.tau(view) for r in rows if r.role == "ceiling"]),
        network=_network(r for g in finished.values() for r in g),
        repeated=sum(r.record["status"] == "finished" for r in runs) - sum(map(len, finished.values())),
    )


def _network(runs: Iterable[Run]) -> str:
    """Say how large the supernets and their images are, where all estimators agree."""
    names = (("channels", "C"), ("cells", "N"), ("image_size", "image side"))
    configs = [r.record["config"] for r in runs if r.record.get("role") == "estimator"]
    found = {", ".join(f"{short} = {c[key]}" for key, short in names if c.get(key) is not None) for c in configs}
    return f"Supernets: {found.pop()}" if len(found) == 1 and "" not in found else ""


def _labels(finished: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """Return a label per group: the title, and what sets groups of one title apart."""
    titles = {key: title_of(members[0].record) for key, members in finished.items()}
    labels = dict(titles)
    for title, count in Counter(titles.values()).items():
        same = [key for key, t in titles.items() if t == title]
        if count > 1:
            for key, difference in zip(same, differences([finished[k][0].record["config"] for k in same]), strict=True):
                labels[key] = f"{title} ({difference or key[:8]})"
    return labels


def title_of(record: Mapping[str, Any]) -> str:
    """Return what an estimator is called in print."""
    return str(record.get("title") or record["config"].get("estimator") or record["run_id"])


def _rows(task: Task, label: str, members: Sequence[Run], columns: Sequence[str] | str | None) -> list[Row]:
    first = members[0].record
    offered = list(first.get("columns") or []) or sorted({m["column"] for m in first["metrics"]})
    wanted = offered[:1] if columns is None else offered if columns == "all" else columns
    chosen = [c for c in offered if c in ([wanted] if isinstance(wanted, str) else wanted)]
    rows = []
    for column in chosen:
        entries: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for run in members:
            for m in run.record["metrics"]:
                if m["truth"] == task.truth and m["column"] == column:
                    entries.setdefault((str(m["view"]), str(m["key"])), []).append(m)
        rows.append(
            Row(
                label,
                str(first["config"].get("estimator") or label),
                str(first.get("role") or "estimator"),
                column,
                column == offered[0],
                str(first.get("source") or ""),
                str(first.get("group") or ""),
                tuple(seed_of(r.record) for r in members),
                tuple(r.record["run_id"] for r in members),
                {k: summarise(v) for k, v in entries.items()},
                {k: mean([(r.record.get("cost") or {}).get(k) for r in members]) for k in COSTS},
                tuple(sorted({str((r.record.get("environment") or {}).get("device") or "unknown") for r in members})),
            )
        )
    return rows


def _reference(rows: Sequence[Row], what: str, label: str) -> list[Row]:
    """Return a row of the records' own ceilings or chance levels, none where they have none."""
    cells: dict[tuple[str, str], Cell] = {}
    for row in rows:
        if not row.primary or row.role in ("ceiling", "chance"):
            continue
        for key, cell in row.cells.items():
            value = getattr(cell, what)
            if value is not None and key not in cells:
                cells[key] = Cell(value, values=(value,), n=cell.n)
    return [Row(label, what, what, "", cells=cells)] if cells else []


def _judge(row: Row, view: str, floor: Row | None, n: int | None) -> Row:
    """Add the verdict against the floor, and notes on what a reader would otherwise miss."""
    cell, notes, verdict = row.cell(view, TAU), [], None
    if not row.reference and floor is not None and cell is not None and cell.value is not None:
        bar = floor.tau(view) or 0.0
        verdict = (cell.low if cell.low is not None else cell.value) > bar
        if not verdict:
            notes.append(f"not above the free baseline {floor.label}")
        elif cell.low is None:
            notes.append("no interval")
    if cell is not None and cell.value is not None and cell.undefined:
        notes.append(f"{len(cell.values)} of {cell.runs} runs have a tau; undefined: {cell.undefined}")
    if cell is not None and cell.n is not None and cell.n != n:
        notes.append(f"judged on {cell.n:,} architectures")
    if not row.primary:
        notes.append("not the declared primary column")
    return replace(row, verdict=verdict, notes=tuple(notes))


def _failure(record: Mapping[str, Any]) -> Failure:
    error = record.get("error") or {}
    if record["status"] == "failed":
        message = f"{error.get('type') or 'error'}: {error.get('message') or 'no message in the record'}"
    else:
        message = f"no result: the run is '{record['status']}' (interrupted, or still going)"
    where = [f"{k.replace('_', ' ')} {error[k]}" for k in ("step", "learning_rate") if error.get(k) is not None]
    if where:
        message += f" ({', '.join(where)})"
    return Failure(record["run_id"], title_of(record), seed_of(record), str(record["status"]), message)
