"""supertau report: leaderboards and figures from stored records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from supertau.benchmarks.cli.options import RESULTS, Json, Quiet, Results, application
from supertau.benchmarks.cli.output import print_json, say
from supertau.benchmarks.verbs.report import report

EXAMPLES = """Examples:

supertau report

supertau report --view unique --columns all --to my_report"""

app = application()


@app.command("report", epilog=EXAMPLES)
def command(
    results: Results = RESULTS,
    to: Annotated[Path | None, typer.Option(help="Folder to write to [default: RESULTS/report].")] = None,
    truth: Annotated[str | None, typer.Option(help="Only tables ranked against this data set.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Score columns: 'all', or names with commas [default: each one's primary].")
    ] = None,
    view: Annotated[str | None, typer.Option(help="all, unique, connected or trained.")] = None,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures too.")] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write leaderboards and figures from the records of runs.

    The files are leaderboard.md, .csv, .tex and .html, runs.csv, and figures as PNG and PDF.
    """
    chosen = columns.split(",") if columns and columns != "all" else columns
    target = to or results / "report"
    files = report(results, to=target, truth=truth, columns=chosen, view=view, figures=figures).files
    if as_json:
        print_json([str(path) for path in files])
    elif not quiet:
        say((target / "leaderboard.md").read_text(encoding="utf-8"))
        say(f"{len(files)} files in {target}; open {target / 'leaderboard.html'}")
