"""supertau report: leaderboards and figures from stored records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from supertau.benchmarks.cli.output import RESULTS, Json, Quiet, Results, out, print_json
from supertau.benchmarks.report import report

EXAMPLES = """Examples:

supertau report

supertau report --view unique --columns all --to my_report"""


def command(
    results: Results = RESULTS,
    to: Annotated[Path | None, typer.Option(help="Folder to write to [default: RESULTS/report].")] = None,
    truth: Annotated[str | None, typer.Option(help="Only tables ranked against this data set.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Score columns: 'all', or names with commas [default: each one's primary].")
    ] = None,
    view: Annotated[str | None, typer.Option(help="all, unique or connected.")] = None,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures too.")] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write leaderboard.md, .csv, .tex, .html and figures (PNG, PDF)."""
    chosen = columns.split(",") if columns and columns != "all" else columns
    target = to or results / "report"
    written = report(results, target, truth=truth, columns=chosen, view=view, figures=figures)
    if as_json:
        print_json([str(path) for path in written])
    elif not quiet:
        out.print((target / "leaderboard.md").read_text(), markup=False)
        out.print(f"{len(written)} files in {target}; open {target / 'leaderboard.html'}", markup=False)
