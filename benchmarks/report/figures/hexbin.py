"""Rank by score against rank by ground truth, as counts in hexagons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from supertau.benchmarks.report.style import INK, SINGLE, headline, new_figure, styled

Floats = npt.NDArray[np.float64]
COUNTS = LinearSegmentedColormap.from_list("counts", ["#dfe8f1", "#9dbfdc", "#4a8cc0", "#0d5a97", "#08264a"])
"""One hue from light to dark: more is darker, also without colour."""


@styled
def hexbin(score: Floats, truth: Floats, *, title: str, annotation: str, width: float = SINGLE) -> Figure:
    """Draw ranks of score (N,) and truth (N,), 1 = best, ties at their mean rank; colour is a count, log scale."""
    figure, axes = new_figure(width, 0.92 * width)
    n = len(truth)
    cells = int(np.clip(np.sqrt(n) / 3, 8, 36))
    drawn = axes.hexbin(
        _ranks(score),
        _ranks(truth),
        gridsize=cells,
        bins="log",
        cmap=COUNTS,
        mincnt=1,
        linewidths=0.1,
        extent=(1, n, 1, n),
    )
    axes.plot([1, n], [1, n], color=INK, linewidth=0.7, linestyle=(0, (4, 2)))
    axes.set_xlim(1, n)
    axes.set_ylim(1, n)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xlabel("rank by score (1 = best)")
    axes.set_ylabel("rank by ground truth (1 = best)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_ticks(n))
        axis.set_major_formatter("{x:,.0f}")
    headline(axes, title, annotation)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02, aspect=25)
    bar.set_label("architectures")
    bar.outline.set_visible(False)
    counts = drawn.get_array()
    assert counts is not None
    bar.set_ticks(_counts(int(counts.max())))
    bar.set_ticks([], minor=True)
    bar.ax.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def _counts(most: int) -> list[int]:
    """Return the counts that the colour bar names: all of them where they are few, else 1, 2, 5, 10, 20 and so on."""
    if most <= 5:
        return list(range(1, most + 1))
    return [step * 10**power for power in range(len(str(most))) for step in (1, 2, 5) if step * 10**power <= most]


def _ranks(values: Floats) -> Floats:
    """Return ranks (N,), 1 for the largest value; equal values share their mean rank."""
    return np.asarray(pd.Series(values).rank(ascending=False))  # scipy.stats takes half a second to import


def _ticks(n: int) -> FixedLocator:
    """Return ticks at rank 1 and at round ranks up to n."""
    round_ranks = [t for t in MaxNLocator(4, integer=True).tick_values(1, n) if 1 < t <= n]
    return FixedLocator([1, *round_ranks])
