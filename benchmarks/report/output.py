"""What `supertau report` makes: the tables, and the files they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import pandas as pd

from supertau.benchmarks.files import write_atomically
from supertau.benchmarks.report.backend import no_backend
from supertau.benchmarks.report.checks import disagreements
from supertau.benchmarks.report.latex import latex
from supertau.benchmarks.report.leaderboard import leaderboard
from supertau.benchmarks.report.markdown import markdown
from supertau.benchmarks.report.page import Picture, page
from supertau.benchmarks.report.table import Table
from supertau.benchmarks.report.tidy import tidy, tidy_runs
from supertau.benchmarks.results import RUNS, load_runs
from supertau.search_spaces.errors import SupertauError


@dataclass(frozen=True)
class Report:
    """The tables of a results folder, and the files that were written; in a notebook it shows the tables."""

    tables: tuple[Table, ...]
    files: tuple[Path, ...]

    def frames(self) -> list[pd.DataFrame]:
        """Return each table as a DataFrame, see `Table.frame`."""
        return [table.frame() for table in self.tables]

    def _repr_html_(self) -> str:
        shown = "".join(table._repr_html_() for table in self.tables)
        folder = escape(str(self.files[0].parent))
        return f"{shown}<p>{len(self.files)} files in {folder}</p>"


def report(
    folder: Path | str,
    out: Path | str,
    *,
    truth: str | None = None,
    columns: Sequence[str] | str | None = None,
    view: str | None = None,
    figures: bool = True,
) -> Report:
    """Write leaderboard.{md,csv,tex,html}, runs.csv and figures/*.{png,pdf}; return tables and paths.

    folder: results folder, whose runs are in `folder`/runs. truth, columns, view: as `leaderboard`. figures: False
    leaves them out, of the page too. Records that cannot be read are listed, with a warning each. Raises SupertauError
    when there is no run in the folder or `out` cannot be written, UnknownName for a truth, column or view no run has.
    """
    folder, out = Path(folder), Path(out)
    runs = load_runs(folder)
    if not runs:
        if runs.damaged:
            raise SupertauError(f"no run in '{folder / RUNS}' can be read: " + "\n".join(runs.damaged))
        raise SupertauError(
            f"no runs in '{folder / RUNS}'. Make some with `supertau run --preset quick`, or judge scores "
            "made elsewhere with `supertau score FILE`; `make leaderboard` sets up and runs every estimator."
        )
    plain = leaderboard(runs, truth=truth, columns=columns, view=view)
    tables = tuple(replace(table, doubts=tuple(disagreements(table))) for table in plain)
    images: list[Path] = []
    pictures: dict[int, list[Picture]] = {}
    if figures:
        # Imported here because of matplotlib, which takes a second to import.
        with no_backend():
            from supertau.benchmarks.report.plots import plots
            from supertau.benchmarks.report.style import save

        for place, table in enumerate(tables):
            for plot in plots(table):
                images += save(plot.figure, out / "figures", plot.name, plot.png)
                pictures.setdefault(place, []).append(Picture(plot.kind, plot.caption, plot.png))
    written = (
        write_atomically(out / "leaderboard.md", markdown(tables, runs.damaged)),
        write_atomically(out / "leaderboard.csv", tidy(tables)),
        write_atomically(out / "runs.csv", tidy_runs(tables)),
        write_atomically(out / "leaderboard.tex", latex(tables)),
        write_atomically(out / "leaderboard.html", page(tables, pictures, runs.damaged)),
    )
    return Report(tables, (*written, *images))
