"""supertau compare: is one estimator better than another?"""

from __future__ import annotations

from typing import Annotated

import typer

from supertau.benchmarks.cli.output import RESULTS, Json, Results, out, print_json
from supertau.benchmarks.judging.comparison import compare, find
from supertau.benchmarks.record import load_runs

EXAMPLES = """Examples:

supertau compare spos params

supertau compare spos spos --column-a accuracy@batch --column-b neg_loss@batch --metric p_at_top_5pct --view unique"""


def command(
    a: Annotated[str, typer.Argument(help="Estimator, title, group or run id.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    metric: Annotated[str, typer.Option(help="Metric key.")] = "kendall_tau",
    view: Annotated[str, typer.Option(help="all, unique or connected.")] = "all",
    truth: Annotated[str | None, typer.Option(help="Data set of the ground truth [default: the record's].")] = None,
    column_a: Annotated[str | None, typer.Option(help="Score column of A [default: its primary].")] = None,
    column_b: Annotated[str | None, typer.Option(help="Score column of B [default: its primary].")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Paired difference of a metric with its 95 % interval; says so when the two are not distinguishable."""
    runs = load_runs(results)
    one, two = find(runs, a, column_a), find(runs, b, column_b)
    found = compare(one, two, key=metric, truth=truth, view=view)
    if as_json:
        print_json({"a": one.name, "column_a": one.column, "b": two.name, "column_b": two.column, **found.as_dict()})
        return
    if found.difference is None or found.low is None or found.high is None:
        out.print(f"{metric}: {found.verdict}", markup=False)
        return
    out.print(
        f"{metric} of {one.name} ({one.column}) minus {two.name} ({two.column}), view {view}: "
        f"{found.difference:+.4f}, 95 % interval [{found.low:+.4f}, {found.high:+.4f}], "
        f"{found.n} architectures, {found.seeds} paired seeds: {found.verdict}",
        markup=False,
    )
