"""The leaderboard as bars: mean tau with its interval, one dot per seed, between the floor and the ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from supertau.benchmarks.record import Role
from supertau.benchmarks.report.looks import CEILING, FLOOR, look
from supertau.benchmarks.report.numbers import number
from supertau.benchmarks.report.style import DOUBLE, INK, QUIET, new_figure, plain, styled


@dataclass(frozen=True)
class Bar:
    """One row: its label, registered estimator name and role; mean value, 95 % interval and the value of each seed."""

    label: str
    estimator: str
    role: Role
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
    """Draw rows from the top down in their order; floor: label and value of the best free baseline."""
    figure, axes = new_figure(width, 0.62 + 0.27 * len(rows))
    for place, row in enumerate(rows):
        color = look(row.estimator, row.role).color
        reference = row.role.is_reference
        axes.barh(
            place,
            row.value,
            height=0.62,
            color=color,
            alpha=0.25 if reference else 0.85,
            gid=f"bar:{row.label}",
            hatch="////" if reference else None,
            edgecolor=color if reference else "none",
            linewidth=0.4,
        )
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=INK, linewidth=1.1, solid_capstyle="butt", zorder=3)
            for end in (row.low, row.high):
                axes.plot([end, end], [place - 0.13, place + 0.13], color=INK, linewidth=1.1, zorder=3)
        if len(row.seeds) > 1:
            offsets = np.linspace(-0.17, 0.17, len(row.seeds))
            axes.scatter(
                row.seeds,
                place + offsets,
                s=9,
                facecolor="white",
                edgecolor=INK,
                linewidths=0.6,
                zorder=4,
                gid=f"seeds:{row.label}",
            )
    _value_column(axes, rows)
    low = min([0.0, *(r.value if r.low is None else r.low for r in rows)])
    high = max([*(r.value if r.high is None else r.high for r in rows), ceiling or 0.0, floor[1] if floor else 0.0])
    axes.set_xlim(low * 1.08, high * 1.04 if high > 0 else 0.05)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_yticks(range(len(rows)), [plain(r.label) for r in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.axvline(0.0, color="#8c8c8c", linewidth=0.6)
    lines = [("noise ceiling", ceiling, CEILING)] if ceiling is not None else []
    if floor is not None:
        lines.append((f"floor: {floor[0]}", floor[1], FLOOR))
    above = blended_transform_factory(axes.transData, axes.transAxes)
    close = len(lines) == 2 and abs(lines[0][1] - lines[1][1]) < 0.35 * (axes.get_xlim()[1] - axes.get_xlim()[0])
    for (label, value, style), side in zip(lines, ("left", "right") if close else ("center", "center"), strict=False):
        axes.axvline(value, color=style.color, linestyle=style.line, linewidth=1.0, zorder=2, gid=label)
        text = plain(f"{label} {number(value)}", 44)
        axes.text(value, 1.01, text, transform=above, ha=side, va="bottom", fontsize=7, color=style.color)
    axes.set_title(title, pad=14.0 if lines else 5.0)
    axes.set_xlabel(axis_label)
    return figure


def _value_column(axes: Axes, rows: Sequence[Bar]) -> None:
    """Print the number of each row at the right edge, where no bar can cover it."""
    right = blended_transform_factory(axes.transAxes, axes.transData)
    for place, row in enumerate(rows):
        text = number(row.value)
        if row.low is not None and row.high is not None:
            text += f"  [{number(row.low)}, {number(row.high)}]"
        axes.text(1.01, place, text, transform=right, va="center", ha="left", fontsize=7, color=QUIET)
