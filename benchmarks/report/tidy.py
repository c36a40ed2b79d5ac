"""The leaderboard as CSV, one number a line at full precision: every metric, view and score column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from supertau.benchmarks.report.cells import finite
from supertau.benchmarks.report.table import COSTS, Table

TASK = (
    "space", "truth", "truth_split", "truth_epochs", "truth_source", "truth_sha256", "pool", "pool_digest", "images",
    "image_size", "train", "validation", "validation_split", "preset",
)  # fmt: skip
ROW = ("estimator", "title", "role", "column", "primary", "group")
NUMBER = (
    "view", "metric", "value", "undefined", "n_seeds", "n_runs", "sd", "low", "high", "interval", "chance", "ceiling",
    "n",
)  # fmt: skip
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
    task, images, truth = table.task, table.task.images, table.task.truth
    of_truth = [truth.split, truth.epochs, truth.source, truth.sha256] if truth else [None] * 4
    of_pool = [table.pools[0] if table.pools else None, task.pool.digest if task.pool else None]
    of_images = [images.name, images.size, images.train, images.validation, images.validation_split] if images else []
    return [task.space, task.dataset, *of_truth, *of_pool, *(of_images or [None] * 5), task.preset]


def _summary_lines(table: Table) -> Iterable[list[object]]:
    for row in table.rows:
        verdict = {True: "yes", False: "no", None: ""}[row.verdict]
        for (view, key), c in row.cells.items():
            yield [
                *_task(table),
                *(row.estimator, row.label, row.role.value, row.column, row.primary, row.group),
                " ".join(map(str, row.seeds)),
                *(view, key, c.value, c.undefined, len(c.values), c.runs, c.sd, c.low, c.high),
                c.interval if c.interval != "none" else "",
                *(c.chance, c.ceiling, c.n),
                verdict,
                *(getattr(row.cost, name) for name in COSTS),
                " ".join(row.devices),
                "; ".join(row.notes),
            ]


def _run_lines(table: Table) -> Iterable[list[object]]:
    names = {run_id: row.label for row in table.rows for run_id in row.run_ids}
    for one in table.runs:
        r = one.record
        for m in one.judgement.metrics:
            yield [
                *_task(table),
                *(r.estimator, names.get(r.run_id, r.title), r.role.value, m.column, m.column == r.primary, r.group),
                *(r.run_id, r.seed, r.identity),
                *(m.view, m.key, finite(m.value), m.undefined),
                *(finite(m.low), finite(m.high), finite(m.chance), finite(m.ceiling), m.n),
            ]


def _csv(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    # repr of a float is the shortest text that reads back as the same number
    writer.writerows(["" if v is None else repr(v) if isinstance(v, float) else v for v in line] for line in lines)
    return buffer.getvalue()
