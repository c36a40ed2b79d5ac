"""Score against ground truth, one point per architecture, with the true and the predicted best marked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from supertau.benchmarks.report.looks import GREEN
from supertau.benchmarks.report.style import CHOSEN, GOOD, QUIET, SINGLE, headline, new_figure, plain, styled

Floats = npt.NDArray[np.float64]


def best(values: Floats, count: int) -> npt.NDArray[np.bool_]:
    """Mark the `count` highest of values (N,); ties at the boundary go to the earlier one, for drawing only."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.argsort(-values, kind="stable")[:count]] = True
    return chosen


def lower_limit(truth: Floats) -> float:
    """Return where the truth axis starts: below nearly all points, so that failed networks do not flatten the rest."""
    floor, bulk = float(truth.min()), float(np.quantile(truth, 0.05))
    top = float(truth.max())
    return floor if top - floor < 1.6 * (top - bulk) else bulk


@styled
def scatter(
    score: Floats,
    truth: Floats,
    *,
    title: str,
    annotation: str,
    score_label: str,
    truth_label: str,
    ratio: float = 0.05,
    width: float = SINGLE,
) -> Figure:
    """Draw score (N,) against truth (N,) in percent, marking the best `ratio` by either; points are rasterised in PDF.

    Architectures below the drawn part of the truth axis are counted in the figure, not dropped in silence.
    """
    figure, axes = new_figure(width, 0.88 * width)
    count = max(1, int(ratio * len(truth)))
    truly, predicted = best(truth, count), best(score, count)
    percent = f"{100 * ratio:g} %"
    size = float(np.clip(9000 / len(truth), 2.0, 14.0))
    layers = [
        (~truly & ~predicted, "#b9c0c7", 0.35, "others"),
        (truly & ~predicted, GOOD, 0.75, f"true top {percent}, missed"),
        (predicted & ~truly, CHOSEN, 0.75, f"predicted top {percent}, wrong"),
        (truly & predicted, GREEN, 0.95, "both"),
    ]
    for mask, color, alpha, label in layers:
        axes.scatter(
            score[mask],
            truth[mask],
            s=size,
            c=color,
            alpha=alpha,
            linewidths=0,
            rasterized=True,
            label=f"{label} ({int(mask.sum()):,})",
            gid=label,
        )
    axes.axhline(truth[truly].min(), color=GOOD, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0)
    axes.axvline(score[predicted].min(), color=CHOSEN, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0)

    low, high = lower_limit(truth), float(truth.max())
    axes.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    hidden = int((truth < axes.get_ylim()[0]).sum())
    if hidden:
        axes.text(
            0.985,
            0.02,
            f"↓ {hidden:,} below {axes.get_ylim()[0]:.0f}, not drawn",
            transform=axes.transAxes,
            fontsize=7,
            color=QUIET,
            ha="right",
            va="bottom",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        )
    headline(axes, title, annotation)
    axes.set_xlabel(plain(score_label))
    axes.set_ylabel(plain(truth_label, 50))
    legend = figure.legend(loc="outside lower center", ncols=2, handletextpad=0.2, columnspacing=1.0)
    for handle in legend.legend_handles:
        handle.set_alpha(1.0)  # type: ignore[union-attr]
        handle.set_sizes([12])  # type: ignore[union-attr]
    return figure
