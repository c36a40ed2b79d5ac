"""Whether the stored scores give the numbers that stand in the records."""

from __future__ import annotations

import numpy as np

from supertau.benchmarks.metrics import METRICS
from supertau.benchmarks.report.cells import finite, number
from supertau.benchmarks.report.leaderboard import TAU, Table
from supertau.benchmarks.report.pool import paired

TOLERANCE = 1e-4


def disagreements(table: Table) -> list[str]:
    """Return one sentence per run whose tau is not what its stored scores and ground truth give; [] when all agree.

    Computed again is tau of the printed score columns on the table's main view.
    """
    found = []
    columns: dict[str, list[str]] = {}
    for row in table.rows:
        for run_id in row.run_ids:
            columns.setdefault(run_id, []).append(row.column)
    for run in table.runs:
        for m in run.record["metrics"]:
            wanted = (m["truth"], m["view"], m["key"]) == (table.task.truth, table.view, TAU)
            if not wanted or m["column"] not in columns.get(run.record["run_id"], ()):
                continue
            pair = paired(run, table.task.truth, m["column"], table.view)
            value = None if pair is None else METRICS[TAU](*pair, np.random.default_rng(0))
            held = finite(m.get("value"))
            if (value is None) != (held is None) or abs((value or 0.0) - (held or 0.0)) > TOLERANCE:
                found.append(
                    f"run {run.record['run_id']}: the record says τ {number(held)}, its stored scores give "
                    f"{number(value)}; one of the two files was changed after the run. Run it again with --restart."
                )
    return found
