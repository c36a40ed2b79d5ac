"""Reports: leaderboards (Markdown, CSV, LaTeX, one HTML page) and figures (PNG, PDF), all from stored records."""

from supertau.benchmarks.report.leaderboard import leaderboard
from supertau.benchmarks.report.output import Report, report
from supertau.benchmarks.report.table import Row, Table

__all__ = ["Report", "Row", "Table", "leaderboard", "report"]
