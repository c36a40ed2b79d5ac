"""The leaderboard as bars: mean tau with its interval, one dot per seed, between the floor and the ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from benchmarks.report.style import CEILING, DOUBLE, FLOOR, INK, QUIET, look, new_figure, styled


@dataclass(frozen=True)
class Bar:
    """One row: its label, registered estimator name and role; mean value, 95 % interval and the value of each seed."""

    label: str
    estimator: str
    role: str
    value: float
    low: float | None
    high: float | None
    seeds: tuple[float, ...]


@styled
def bars(
    rows: Sequence[Bar],
    *,
    title: str,
    axis_label: str,
    ceiling: float | None = None,
    floor: tuple[str, float] | None = None,
    width: float = DOUBLE,
) -> Figure:
    """Draw rows from the top down in their order; ceiling is a value, floor the best free baseline's label and value."""
    figure, axes = new_figure(width, 0.62 + 0.27 * len(rows))
    for place, row in enumerate(rows):
        color = look(row.estimator, row.role).color
        reference = row.role in ("baseline", "ceiling")
        axes.barh(
            place, row.value, height=0.62, color=color, alpha=0.25 if reference else 0.85, gid=f"bar:{row.label}",
            hatch="////" if reference else None, edgecolor=color if reference else "none", linewidth=0.4,
        )  # fmt: skip
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=INK, linewidth=1.1, solid_capstyle="butt", zorder=3)
            for end in (row.low, row.high):
                axes.plot([end, end], [place - 0.13, place + 0.13], color=INK, linewidth=1.1, zorder=3)
        if len(row.seeds) > 1:
            offsets = np.linspace(-0.17, 0.17, len(row.seeds))
            axes.scatter(
                row.seeds, place + offsets, s=9, facecolor="white", edgecolor=INK, linewidths=0.6, zorder=4,
                gid=f"seeds:{row.label}",
            )  # fmt: skip
    _value_column(axes, rows)
    low = min([0.0, *(r.value if r.low is None else r.low for r in rows)])
    high = max([*(r.value if r.high is None else r.high for r in rows), ceiling or 0.0, floor[1] if floor else 0.0])
    axes.set_xlim(low * 1.08, high * 1.04 if high > 0 else 0.05)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_yticks(range(len(rows)), [r.label for r in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.axvline(0.0, color="#8c8c8c", linewidth=0.6)
    lines = [("noise ceiling", ceiling, CEILING)] if ceiling is not None else []
    if floor is not None:
        lines.append((f"floor: {floor[0]}", floor[1], FLOOR))
    above = blended_transform_factory(axes.transData, axes.transAxes)
    for label, value, style in lines:
        axes.axvline(value, color=style.color, linestyle=style.line, linewidth=1.0, zorder=2, gid=label)
        axes.text(
            value, 1.01, f"{label} {value:.3f}", transform=above, ha="center", va="bottom", fontsize=7, color=style.color
        )
    axes.set_title(title, pad=14.0 if lines else 5.0)
    axes.set_xlabel(axis_label)
    return figure


def _value_column(axes, rows: Sequence[Bar]) -> None:  # type: ignore[no-untyped-def]
    """Print the number of each row at the right edge, where no bar can cover it."""
    right = blended_transform_factory(axes.transAxes, axes.transData)
    for place, row in enumerate(rows):
        text = f"{row.value:.3f}"
        if row.low is not None and row.high is not None:
            text += f"  [{row.low:.3f}, {row.high:.3f}]"
        axes.text(1.01, place, text, transform=right, va="center", ha="left", fontsize=7, color=QUIET)
