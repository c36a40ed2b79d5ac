"""Reports: leaderboards (Markdown, CSV, LaTeX, one HTML page) and figures (PNG, PDF), all from stored records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from supertau.benchmarks.files import write_atomically
from supertau.benchmarks.record import load_runs
from supertau.benchmarks.report.checks import disagreements
from supertau.benchmarks.report.latex import latex
from supertau.benchmarks.report.leaderboard import Row, Table, leaderboard
from supertau.benchmarks.report.markdown import markdown
from supertau.benchmarks.report.page import page
from supertau.benchmarks.report.plots import Plot, plots
from supertau.benchmarks.report.style import save
from supertau.benchmarks.report.tidy import tidy, tidy_runs
from supertau.search_spaces.errors import SupertauError

__all__ = ["Plot", "Row", "Table", "leaderboard", "plots", "report"]


def report(
    folder: Path,
    out: Path,
    *,
    truth: str | None = None,
    columns: Sequence[str] | str | None = None,
    view: str | None = None,
    figures: bool = True,
) -> list[Path]:
    """Write leaderboard.{md,csv,tex,html}, runs.csv and figures/*.{png,pdf}; return the paths.

    folder: results folder, whose runs are in `folder`/runs. truth, columns, view: as `leaderboard`. figures: False
    leaves them out, of the page too. Raises SupertauError when the folder holds no run or `out`
    cannot be written, UnknownName for a truth, column or view no run has.
    """
    runs = load_runs(folder)
    if not runs:
        raise SupertauError(
            f"no runs in '{folder / 'runs'}'. Make some with `supertau run --preset quick`, or judge scores "
            "made elsewhere with `supertau score FILE`; `make leaderboard` sets up and runs every estimator."
        )
    found = leaderboard(runs, truth=truth, columns=columns, view=view)
    tables = [replace(table, doubts=tuple(disagreements(table))) for table in found]
    drawn = {place: list(plots(table)) if figures else [] for place, table in enumerate(tables)}
    written = [
        write_atomically(out / "leaderboard.md", markdown(tables)),
        write_atomically(out / "leaderboard.csv", tidy(tables)),
        write_atomically(out / "runs.csv", tidy_runs(tables)),
        write_atomically(out / "leaderboard.tex", latex(tables)),
        write_atomically(out / "leaderboard.html", page(tables, drawn)),
    ]
    for plot in (p for of_table in drawn.values() for p in of_table):
        written += save(plot.figure, out / "figures", plot.name, plot.png)
    return written
