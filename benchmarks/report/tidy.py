"""The leaderboard as CSV, one number a line at full precision: every metric, view and score column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from supertau.benchmarks.report.cells import finite
from supertau.benchmarks.report.leaderboard import COSTS, Table
from supertau.benchmarks.report.tasks import DATA, seed_of

TASK = ("space", "truth", "pool", "images", *DATA, "preset")
ROW = ("estimator", "title", "role", "column", "primary", "group")
NUMBER = (
    "view",
    "metric",
    "value",
    "undefined",
    "n_seeds",
    "n_runs",
    "sd",
    "low",
    "high",
    "interval",
    "chance",
    "ceiling",
    "n",
)
RUN_NUMBER = ("view", "metric", "value", "undefined", "low", "high", "chance", "ceiling", "n")


def tidy(tables: Sequence[Table]) -> str:
    """Return CSV with one line per (task, row, view, metric), summarised over seeds; missing numbers are empty."""
    head = [*TASK, *ROW, "seeds", *NUMBER, "better_than_free_baseline", *COSTS, "devices", "note"]
    return _csv(head, (line for table in tables for line in _summary_lines(table)))


def tidy_runs(tables: Sequence[Table]) -> str:
    """Return CSV with one line per (task, run, score column, view, metric), as the records hold them."""
    head = [*TASK, *ROW, "run_id", "seed", "identity", *RUN_NUMBER]
    return _csv(head, (line for table in tables for line in _run_lines(table)))


def _task(table: Table) -> list[object]:
    t = table.task
    return [t.space, t.truth, t.pool, t.images, *t.data, t.preset]


def _summary_lines(table: Table) -> Iterable[list[object]]:
    for row in table.rows:
        verdict = {True: "yes", False: "no", None: ""}[row.verdict]
        for (view, key), c in row.cells.items():
            yield [
                *_task(table),
                row.estimator,
                row.label,
                row.role,
                row.column,
                row.primary,
                row.group,
                " ".join(map(str, row.seeds)),
                view,
                key,
                c.value,
                c.undefined,
                len(c.values),
                c.runs,
                c.sd,
                c.low,
                c.high,
                c.interval if c.interval != "none" else "",
                c.chance,
                c.ceiling,
                c.n,
                verdict,
                *(row.cost.get(k) for k in COSTS),
                " ".join(row.devices),
                "; ".join(row.notes),
            ]


def _run_lines(table: Table) -> Iterable[list[object]]:
    names = {run_id: row.label for row in table.rows for run_id in row.run_ids}
    for run in table.runs:
        r = run.record
        first = (r.get("columns") or [None])[0]
        for m in r["metrics"]:
            if m["truth"] != table.task.truth:
                continue
            yield [
                *_task(table),
                r["config"].get("estimator"),
                names.get(r["run_id"], r.get("title")),
                r.get("role"),
                m["column"],
                m["column"] == first,
                r.get("group"),
                r["run_id"],
                seed_of(r),
                r.get("identity"),
                m["view"],
                m["key"],
                finite(m.get("value")),
                m.get("undefined"),
                *(finite(m.get(k)) for k in ("low", "high", "chance", "ceiling")),
                m.get("n"),
            ]


def _csv(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    # repr of a float is the shortest text that reads back as the same number
    writer.writerows(["" if v is None else repr(v) if isinstance(v, float) else v for v in line] for line in lines)
    return buffer.getvalue()
