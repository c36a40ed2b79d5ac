"""How figures look beside the colours of estimators: sizes, fonts, and how a figure is saved."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from supertau.benchmarks.files import write_atomically
from supertau.benchmarks.report.font import families
from supertau.benchmarks.report.looks import BLUE, VERMILION

SINGLE = 3.3
"""Width of one column of a two-column paper, inches."""
DOUBLE = 6.9
"""Width of both columns, inches."""
DPI = 200

INK = "#1a1a1a"
QUIET = "#767676"
GRID = "#e4e4e4"

RC: dict[Any, Any] = {
    "mathtext.fontset": "dejavusans",
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "figure.titlesize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8c8c8c",
    "axes.titlelocation": "left",
    "axes.titlepad": 5.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "xtick.color": "#8c8c8c",
    "ytick.color": "#8c8c8c",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0.2,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # text stays text in the PDF; publishers refuse Type 3
    "svg.hashsalt": "supertau",
    "axes.unicode_minus": True,
}

GOOD = VERMILION
"""Colour of the truly best architectures."""
CHOSEN = BLUE
"""Colour of the architectures an estimator puts first."""


def plain(text: str, limit: int = 30) -> str:
    """Return a name for drawing: shortened, with dollar signs as they are and no leading underscore, which matplotlib
    takes for mathematics and for 'not in the legend'."""
    short = text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
    short = short.replace("$", r"\$")
    return f"\N{HAIR SPACE}{short}" if short.startswith("_") else short


def headline(axes: Axes, title: str, below: str) -> None:
    """Write a title and, in quieter letters, a line below it, both from the left edge of the axes."""
    axes.set_title(plain(title, 44), pad=15.0)
    axes.annotate(
        plain(below, 70), (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", color=QUIET,
        fontsize=7, ha="left", va="bottom",
    )  # fmt: skip


def legend_below(figure: Figure, columns: int = 3) -> Legend:
    """Put the legend under the figure, in fewer columns where names are long; the figure grows by its height."""
    labels = [str(t) for axes in figure.axes for t in axes.get_legend_handles_labels()[1]]
    width = max(map(len, labels), default=0)
    fitting = max(1, min(columns, int(figure.get_figwidth() / (0.38 + 0.055 * width))))
    figure.set_figheight(figure.get_figheight() + 0.145 * -(-len(labels) // fitting))
    return figure.legend(loc="outside lower center", ncols=fitting, columnspacing=1.2)


P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the style of the project, whatever the caller's matplotlib settings are."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC)
            mpl.rcParams["font.family"] = families()
            return draw(*args, **kwargs)

    return inside


def new_figure(width: float = SINGLE, height: float = 2.5) -> tuple[Figure, Axes]:
    """Return an empty figure of a size in inches and its axes, without touching pyplot; call it inside `styled`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


# Figure.savefig draws every figure twice, first to lay it out. Both formats come from one layout here, drawn once each.


@styled
def png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return a figure as PNG bytes without date or version, so that the same figure is the same bytes."""
    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    figure.set_layout_engine("none")  # what was laid out stays: the PDF is the same picture
    return buffer.getvalue()


@styled
def pdf(figure: Figure, dpi: int = 300) -> bytes:
    """Return a figure as PDF bytes without date or version; `dpi` is that of the rasterised parts."""
    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    nothing = {"CreationDate": None, "Creator": None, "Producer": None}
    FigureCanvasPdf(figure).print_pdf(buffer, metadata=nothing)
    return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str, drawn: bytes | None = None) -> list[Path]:
    """Write `name`.png and `name`.pdf into a folder and return the two paths; drawn: the PNG, where it is at hand."""
    return [
        write_atomically(folder / f"{name}.png", drawn or png(figure)),
        write_atomically(folder / f"{name}.pdf", pdf(figure)),
    ]
