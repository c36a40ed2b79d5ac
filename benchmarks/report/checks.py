"""Whether the stored scores give the numbers that stand in the records."""

from __future__ import annotations

import numpy as np

from supertau.benchmarks.metrics import METRICS
from supertau.benchmarks.report.cells import finite
from supertau.benchmarks.report.numbers import number
from supertau.benchmarks.report.table import TAU, Table

TOLERANCE = 1e-4


def disagreements(table: Table) -> list[str]:
    """Return one sentence per run whose tau is not what its stored scores and ground truth give; [] when all agree.

    Computed again is tau of the printed score columns on the table's main view.
    """
    sentences = []
    for row in table.rows:
        for one in table.runs_of(row):
            stored = one.find(table.view, row.column, TAU)
            if stored is None:
                continue
            pair = one.pair(row.column, table.view)
            value = None if pair is None else METRICS[TAU](*pair, np.random.default_rng(0))
            printed = finite(stored.value)
            if (value is None) != (printed is None) or abs((value or 0.0) - (printed or 0.0)) > TOLERANCE:
                sentences.append(
                    f"run {one.record.run_id}: the record says τ {number(printed)}, its stored scores give "
                    f"{number(value)}; one of the two files was changed after the run. Run it again with --restart."
                )
    return sentences
