"""The one place that decides how figures look: sizes, fonts, colours, markers, and how a figure is saved."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from supertau.benchmarks.files import write_atomically

SINGLE = 3.3
"""Width of one column of a two-column paper, inches."""
DOUBLE = 6.9
"""Width of both columns, inches."""
DPI = 200

INK = "#1a1a1a"
QUIET = "#767676"
GRID = "#e4e4e4"

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure on every machine
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

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#D0B400", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
"""Okabe and Ito's colour-blind-safe palette, its yellow darkened so that a line of it shows on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

GOOD = VERMILION
"""Colour of the truly best architectures."""
CHOSEN = BLUE
"""Colour of the architectures an estimator puts first."""


@dataclass(frozen=True)
class Look:
    """How one estimator is drawn everywhere: colour, marker and line style."""

    color: str
    marker: str = "o"
    line: str | tuple[float, tuple[float, ...]] = "-"


DASHED = (0.0, (4.0, 1.5))
CEILING = Look("#333333", "_", (0.0, (5.0, 2.0)))
FLOOR = Look("#767676", "|", (0.0, (1.0, 1.5)))
CHANCE = Look("#b3b3b3", "x", "-")

KNOWN: dict[str, Look] = {
    "spos": Look(BLUE, "o"),
    "shifting": Look(VERMILION, "s"),
    "pinas": Look(GREEN, "^"),
    "naov2": Look(PURPLE, "D"),
    "close": Look(ORANGE, "P"),
    "naswot": Look("#5D3A9B", "v", DASHED),
    "synflow": Look(SKY, "X", DASHED),
    "snip": Look("#A50F4C", "h", DASHED),
    "gradnorm": Look(YELLOW, "<", DASHED),
    "jacobcov": Look("#008B8B", ">", DASHED),
    "params": Look(FLOOR.color, "s", FLOOR.line),
    "macs": Look(FLOOR.color, "^", FLOOR.line),
    "random": Look(FLOOR.color, "x", FLOOR.line),
}
OTHERS = ("#7F4F24", "#4A5D23", "#8F2D56", "#2F6690", "#B5651D", "#546A7B", "#6A4C93")
"""Colours of plugins and score files, none of them used above."""


def look(estimator: str, role: str = "estimator") -> Look:
    """Return the look of an estimator by its registered name and role; the same name always looks the same."""
    if role in ("ceiling", "chance"):
        return CEILING if role == "ceiling" else CHANCE
    plain = "".join(c for c in estimator.lower() if c.isalnum())
    if plain in KNOWN:
        return KNOWN[plain]
    # crc32 and not hash(): a name must keep its colour from one process to the next
    number = zlib.crc32(estimator.encode())
    marker = MARKERS[(number // len(OTHERS)) % len(MARKERS)]
    if role == "baseline":
        return Look(FLOOR.color, marker, FLOOR.line)
    return Look(OTHERS[number % len(OTHERS)], marker, "-" if role == "estimator" else DASHED)


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
            for name, value in RC.items():
                mpl.rcParams[name] = value
            return draw(*args, **kwargs)

    return inside


def new_figure(width: float = SINGLE, height: float = 2.5) -> tuple[Figure, Axes]:
    """Return an empty figure of a size in inches and its axes, without touching pyplot; call it inside `styled`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


@styled
def png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return a figure as PNG bytes without date or version, so that the same figure is the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    figure.set_layout_engine("none")  # what was laid out stays: the PDF is the same picture, in half the time
    return buffer.getvalue()


@styled
def pdf(figure: Figure, dpi: int = 300) -> bytes:
    """Return a figure as PDF bytes without date or version; `dpi` is that of the rasterised parts."""
    buffer = io.BytesIO()
    nothing = {"CreationDate": None, "Creator": None, "Producer": None}
    figure.savefig(buffer, format="pdf", dpi=dpi, metadata=nothing)
    return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str, drawn: bytes | None = None) -> list[Path]:
    """Write `name`.png and `name`.pdf into a folder and return the two paths; drawn: the PNG, where it is at hand."""
    return [
        write_atomically(folder / f"{name}.png", drawn or png(figure)),
        write_atomically(folder / f"{name}.pdf", pdf(figure)),
    ]
