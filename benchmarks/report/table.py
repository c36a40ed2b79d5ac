"""A leaderboard as data: one table per task, one row per estimator and score column, ready for any writer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from html import escape

import pandas as pd

from supertau.benchmarks.judging.views import view_kind
from supertau.benchmarks.metrics import SHOWN
from supertau.benchmarks.record import CostInfo, Role
from supertau.benchmarks.report.cells import Cell
from supertau.benchmarks.report.judged import Judged
from supertau.benchmarks.report.tasks import Task

TAU = SHOWN[0].key
"""The metric that tables are sorted by."""
COSTS = tuple(f.name for f in fields(CostInfo) if f.name not in ("curve_images", "curve_seconds", "other"))
"""What the estimator itself cost; the curve along training is a look at it."""


@dataclass(frozen=True)
class Row:
    """One line: an estimator's group of seeds (or a reference), one score column, and its cells by (view, metric).

    verdict: True when the tau interval lies above the best free baseline, False when it does not, None for references
    and where there is nothing to compare; below: then says so. remarks: what a reader would otherwise miss. cost: means
    over seeds; devices: where it ran.
    """

    label: str
    estimator: str
    role: Role
    column: str
    primary: bool = True
    source: str = ""
    group: str = ""
    seeds: tuple[int, ...] = ()
    run_ids: tuple[str, ...] = ()
    cells: Mapping[tuple[str, str], Cell] = field(default_factory=dict)
    cost: CostInfo = field(default_factory=CostInfo)
    devices: tuple[str, ...] = ()
    verdict: bool | None = None
    below: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The label, with the score column where it is not the primary one."""
        return self.label if self.primary or not self.column else f"{self.label} [{self.column}]"

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is to be said of the row."""
        return (self.below, *self.remarks) if self.below else self.remarks

    @property
    def reference(self) -> bool:
        """Whether the row is something to measure others by, not a competitor."""
        return self.role.is_reference

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
    """One task: rows by falling tau, and the runs without a result.

    title: a heading that no other table of the report has; name: the same for file names. pools: the names of the
    pool. n: the most common number of architectures. floor: the best free baseline. ceiling: tau of the noise ceiling.
    repeated: how many runs are left out because they were run again. doubts: where records disagree with their scores.
    """

    task: Task
    title: str
    name: str
    view: str
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]
    runs: tuple[Judged, ...]
    pools: tuple[str, ...]
    n: int | None
    floor: Row | None
    ceiling: float | None
    network: str = ""
    repeated: int = 0
    doubts: tuple[str, ...] = ()

    @property
    def other_view(self) -> str:
        """The view whose tau stands beside the main one."""
        return view_kind(self.view).beside

    @property
    def caption(self) -> str:
        """What the numbers are: truth with source, split, epochs and seeds, number of architectures, pool, view."""
        truth = self.task.truth
        judged_by = f"data set {self.task.dataset}" if truth is None else truth.caption
        if truth is not None and truth.seeds:
            seeds = ", ".join(truth.seeds)
            judged_by += f", mean over training seeds {seeds} (those that exist for an architecture)"
        count = "an unknown number of" if self.n is None else f"{self.n:,}"
        pool = f"pool '{self.pools[0]}'" if self.pools else "pool as recorded"
        if self.pools[1:]:
            pool += f" (also called {', '.join(repr(name) for name in self.pools[1:])})"
        extra = f" {self.network}." if self.network else ""
        if self.repeated:
            extra += f" {self.repeated} earlier run(s) of a configuration run again are left out."
        return (
            f"Ground truth: {judged_by}. Ranked: {count} architectures, {pool}, "
            f"view '{self.view}' ({view_kind(self.view).caption}).{extra}"
        )

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The (view, metric) pairs printed beside tau.

        A metric that is not computed on the table's view is shown on its own: the local protocol needs merged classes.
        """
        present = {pair for row in self.rows if row.run_ids for pair in row.cells}
        chosen = []
        for entry in SHOWN[1:]:
            pairs = [(view, entry.key) for view in (self.view, *(entry.views or ()))]
            chosen += [pair for pair in pairs if pair in present][:1]
        return chosen

    def runs_of(self, row: Row) -> list[Judged]:
        """Return the runs behind a row, seeds in order."""
        return [one for one in self.runs if one.record.run_id in row.run_ids]

    def frame(self) -> pd.DataFrame:
        """Return one line per row: tau with its interval, deviation and seeds, the metrics beside it, and costs.

        tau, low, high, sd are those of the table's view; NaN where there is no number. Seeds are counted.
        """
        lines = []
        for row in self.rows:
            tau = row.cell(self.view, TAU) or Cell(None)
            line: dict[str, object] = {
                "estimator": row.name, "role": row.role.value, "score": row.column or None, "tau": tau.value,
                "low": tau.low, "high": tau.high, "sd": tau.sd, "seeds": len(row.seeds),
            }  # fmt: skip
            for view, key in self.shown:
                cell = row.cell(view, key)
                line[key] = cell.value if cell else None
            lines.append(line | {name: getattr(row.cost, name) for name in COSTS})
        texts, numbers = ["estimator", "role", "score"], ["tau", "low", "high", "sd"]
        rest = [*(key for _, key in self.shown), *COSTS]
        frame = pd.DataFrame(lines, columns=[*texts, *numbers, "seeds", *rest])
        return frame.astype(dict.fromkeys([*numbers, *rest], "float64"))

    def _repr_html_(self) -> str:
        frame = self.frame().drop(columns=list(COSTS), errors="ignore")
        table: str = frame.to_html(index=False, escape=True, na_rep="", float_format="{:.3f}".format)
        failed = "".join(f"<li>{escape(f.label)}, seed {f.seed}: {escape(f.message)}</li>" for f in self.failures)
        return f"<h4>{escape(self.title)}</h4>{table}" + (f"<ul>{failed}</ul>" if failed else "")
