"""How many of the K best an estimator finds, for every K."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from supertau.benchmarks.record import Role
from supertau.benchmarks.report.figures.training import short_count
from supertau.benchmarks.report.looks import CEILING, CHANCE, look
from supertau.benchmarks.report.style import QUIET, SINGLE, headline, legend_below, new_figure, plain, styled

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OverlapCurve:
    """P@K of one estimator: ks (M,) rising counts, precision (M,) mean over seeds in [0, 1]."""

    label: str
    estimator: str
    role: Role
    ks: npt.NDArray[np.int64]
    precision: Floats


@styled
def overlap(
    curves: Sequence[OverlapCurve],
    *,
    title: str,
    caption: str,
    n: int,
    ceiling: tuple[Floats, Floats] | None = None,
    width: float = SINGLE,
) -> Figure:
    """Draw P@K over K on a pool of n architectures; chance is K/n, ceiling that of one training seed for the others."""
    figure, axes = new_figure(width, 0.72 * width)
    ks = np.unique(np.concatenate([c.ks for c in curves]))
    axes.fill_between(ks, 0.0, ks / n, color=CHANCE.color, alpha=0.25, linewidth=0)
    axes.plot(ks, ks / n, color=CHANCE.color, linewidth=0.9, label="chance (K/N)", gid="chance")
    if ceiling is not None:
        axes.plot(
            ceiling[0],
            ceiling[1],
            color=CEILING.color,
            linestyle=CEILING.line,
            linewidth=1.1,
            label="noise ceiling",
            gid="ceiling",
        )
    for curve in curves:
        drawn = look(curve.estimator, curve.role)
        axes.plot(
            curve.ks,
            curve.precision,
            color=drawn.color,
            linestyle=drawn.line,
            marker=drawn.marker,
            label=plain(curve.label, 22),
            markevery=max(1, len(curve.ks) // 8),
            gid=f"curve:{curve.label}",
        )
    axes.set_xscale("log")
    axes.set_xlim(ks[0], ks[-1])
    axes.set_ylim(0.0, 1.0)
    axes.xaxis.set_major_formatter(short_count)
    axes.axvline(max(1, int(0.05 * n)), color=QUIET, linewidth=0.5, linestyle=(0, (1, 2)), zorder=0)
    axes.text(
        max(1, int(0.05 * n)),
        0.99,
        "top 5 % ",
        transform=axes.get_xaxis_transform(),
        fontsize=7,
        color=QUIET,
        ha="right",
        va="top",
    )
    axes.set_xlabel(f"K (of N = {n:,})")
    axes.set_ylabel("P@K, share of the true top K")
    headline(axes, title, caption)
    legend_below(figure)
    return figure
