"""Whether the stored scores give the numbers that stand in the records."""

from __future__ import annotations

import numpy as np

from benchmarks.metrics import METRICS
from benchmarks.report.cells import finite, number
from benchmarks.report.leaderboard import TAU, Table
from benchmarks.report.pool import paired

TOLERANCE = 1e-4


def disagreements(table: Table) -> list[str]:
    """Return one sentence per run whose tau is not what its stored scores and ground truth give; [] when all agree.

    Only the view 'all' is computed again. Noise ceilings are judged by part of the ground truth and left out.
    """
    found = []
    columns = {run_id: row.column for row in table.rows if row.role != "ceiling" for run_id in row.run_ids}
    for run in table.runs:
        column = columns.get(run.record["run_id"])
        for m in run.record["metrics"]:
            if column is None or (m["truth"], m["view"], m["column"], m["key"]) != (
                table.task.truth,
                "all",
                column,
                TAU,
            ):
                continue
            score, truth = paired(run, table.task.truth, column, "all")
            value = METRICS[TAU](score, truth, np.random.default_rng(0)) if len(score) > 1 else None
            held = finite(m.get("value"))
            if (value is None) != (held is None) or abs((value or 0.0) - (held or 0.0)) > TOLERANCE:
                found.append(
                    f"run {run.record['run_id']}: the record says τ {number(held)}, its stored scores give "
                    f"{number(value)}; one of the two files was changed after the run. Run it again."
                )
    return found
