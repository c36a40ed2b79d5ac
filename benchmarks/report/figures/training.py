"""Kendall's tau along training: one line per estimator, mean over seeds with its band, seeds as thin lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from supertau.benchmarks.record import Role
from supertau.benchmarks.report.looks import FLOOR, look
from supertau.benchmarks.report.style import SINGLE, headline, legend_below, new_figure, plain, styled


@dataclass(frozen=True)
class TrainingCurve:
    """Tau of one estimator along training.

    passes: (T,) training images seen; tau: (S, T), one row per seed, NaN where a seed's tau is undefined; low, high:
    (T,) band over seeds, None for fewer than three.
    """

    label: str
    estimator: str
    role: Role
    passes: npt.NDArray[np.int64]
    tau: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64] | None = None
    high: npt.NDArray[np.float64] | None = None


def short_count(value: float, _: object = None) -> str:
    """Return a count with a unit prefix: 1500 as 1.5k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


@styled
def training(
    curves: Sequence[TrainingCurve],
    *,
    title: str,
    caption: str,
    axis_label: str,
    floor: tuple[str, float] | None = None,
    width: float = SINGLE,
) -> Figure:
    """Draw tau against training images; the caption says on how many architectures it was measured."""
    figure, axes = new_figure(width, 0.72 * width)
    for curve in curves:
        drawn = look(curve.estimator, curve.role)
        if len(curve.tau) > 1:
            for seed in curve.tau:
                axes.plot(curve.passes, seed, color=drawn.color, linewidth=0.5, alpha=0.5, gid=f"seed:{curve.label}")
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.passes, curve.low, curve.high, color=drawn.color, alpha=0.14, linewidth=0)
        axes.plot(
            curve.passes,
            curve.tau.mean(axis=0),
            color=drawn.color,
            marker=drawn.marker,
            linestyle=drawn.line,
            label=plain(curve.label, 22),
            gid=f"mean:{curve.label}",
        )
    if floor is not None:
        axes.axhline(
            floor[1], color=FLOOR.color, linestyle=FLOOR.line, linewidth=1.0, label=plain(f"floor: {floor[0]}", 22)
        )
    passes = np.unique(np.concatenate([c.passes for c in curves]))
    positive = passes[passes > 0]
    if len(positive) > 1 and len(positive) == len(passes) and positive[-1] / positive[0] > 20:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(short_count))
    axes.set_xlabel("training images seen (forward and backward)")
    axes.set_ylabel(axis_label)
    headline(axes, title, caption)
    legend_below(figure)
    return figure
