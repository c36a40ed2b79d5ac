"""report: leaderboards and figures from stored records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supertau.benchmarks.report import Report
from supertau.benchmarks.report import report as write_report


def report(
    results: Path | str = "results/local",
    *,
    to: Path | str | None = None,
    truth: str | None = None,
    columns: Sequence[str] | str | None = None,
    view: str | None = None,
    figures: bool = True,
) -> Report:
    """Write leaderboards (Markdown, CSV, LaTeX, one HTML page) and figures (PNG, PDF) of all runs in a folder.

    Args:
        results: the folder of the records.
        to: the folder to write to [default: `results`/report].
        truth: only tables judged by this data set; scores that were not judged by it are judged now.
        columns: 'all', or names of score columns [default: each estimator's primary].
        view: the main view: 'all', 'unique', 'connected' or 'trained' [default: all].
        figures: False leaves them out, of the page too.

    Returns:
        The tables, as data and as frames, and the paths of the files.

    Raises:
        SupertauError: when the folder holds no run, or the report cannot be written.
        UnknownName: for a truth, column or view that no run has.

    Example:
        >>> import supertau
        >>> runs = supertau.run(["params", "random"], preset="smoke", results=folder)
        >>> made = supertau.report(folder, figures=False)
        >>> [path.name for path in made.files]
        ['leaderboard.md', 'leaderboard.csv', 'runs.csv', 'leaderboard.tex', 'leaderboard.html']
    """
    out = Path(to) if to is not None else Path(results) / "report"
    return write_report(Path(results), out, truth=truth, columns=columns, view=view, figures=figures)
