"""supertau compare: is one estimator better than another?"""

from __future__ import annotations

from typing import Annotated

import typer

from supertau.benchmarks.cli.options import RESULTS, Json, Results, application
from supertau.benchmarks.cli.output import print_json, say
from supertau.benchmarks.verbs.compare import compare

EXAMPLES = """Examples:

supertau compare spos params

supertau compare spos spos --column-a accuracy@batch --column-b neg_loss@batch --metric p_at_top_5pct --view unique"""

app = application()


@app.command("compare", epilog=EXAMPLES)
def command(
    a: Annotated[str, typer.Argument(help="Estimator, title, group or run id.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    metric: Annotated[str, typer.Option(help="Metric key.")] = "kendall_tau",
    view: Annotated[str, typer.Option(help="all, unique, connected or trained.")] = "all",
    truth: Annotated[str | None, typer.Option(help="Data set of the ground truth [default: the record's].")] = None,
    column_a: Annotated[str | None, typer.Option(help="Score column of A [default: its primary].")] = None,
    column_b: Annotated[str | None, typer.Option(help="Score column of B [default: its primary].")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Compare two estimators: difference with 95 % interval.

    Runs are paired by seed. The verdict says so when the two cannot be told apart.
    """
    comparison = compare(
        a, b, metric=metric, view=view, truth=truth, column_a=column_a, column_b=column_b, results=results
    )
    if as_json:
        print_json(comparison.as_dict())
    else:
        say(comparison)
