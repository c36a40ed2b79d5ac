"""compare: is one estimator better than another?"""

from __future__ import annotations

from pathlib import Path

from supertau.benchmarks.judging.comparison import Comparison, Side, find, side_of
from supertau.benchmarks.judging.comparison import compare as compare_sides
from supertau.benchmarks.results import Run, Runs, load_runs


def compare(
    a: str | Run | Runs,
    b: str | Run | Runs,
    *,
    metric: str = "kendall_tau",
    view: str = "all",
    truth: str | None = None,
    column_a: str | None = None,
    column_b: str | None = None,
    results: Path | str = "results/local",
) -> Comparison:
    """Return the paired difference of a metric between two estimators, with its 95 % interval.

    Args:
        a, b: an estimator, title, group or run id among the finished runs of `results`, or runs themselves (those of
            one configuration; seeds are paired).
        metric: key of a metric, see `supertau.METRICS`.
        view: 'all', 'unique', 'connected' or 'trained'.
        truth: data set of the ground truth [default: the first that judged all of the runs].
        column_a, column_b: score columns [default: each one's primary].

    Raises:
        UnknownName: for a run, column, view, metric or truth that is not there.
        SupertauError: when the two were not judged by one ground truth, or share fewer than two architectures.

    Example:
        >>> import supertau
        >>> runs = supertau.run(["params", "macs"], preset="smoke", results=folder)
        >>> supertau.compare("params", "macs", results=folder).difference.verdict
        'not distinguishable'
    """
    sides = [_side(which, column, results) for which, column in ((a, column_a), (b, column_b))]
    return compare_sides(sides[0], sides[1], key=metric, truth=truth, view=view)


def _side(which: str | Run | Runs, column: str | None, results: Path | str) -> Side:
    if isinstance(which, str):
        return find(load_runs(results), which, column)
    runs = [which] if isinstance(which, Run) else list(which)
    return side_of(runs, runs[0].record.title, column)
