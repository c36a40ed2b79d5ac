"""How each estimator is drawn everywhere, in figures and on the page: colour, marker and line style."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from supertau.benchmarks.record import Role

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#D0B400", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
"""Okabe and Ito's colour-blind-safe palette, its yellow darkened so that a line of it shows on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")


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


def look(estimator: str, role: Role = Role.ESTIMATOR) -> Look:
    """Return the look of an estimator by its registered name and role; the same name always looks the same."""
    if role in (Role.CEILING, Role.CHANCE):
        return CEILING if role is Role.CEILING else CHANCE
    plain = "".join(c for c in estimator.lower() if c.isalnum())
    if plain in KNOWN:
        return KNOWN[plain]
    # crc32 and not hash(): a name must keep its colour from one process to the next
    number = zlib.crc32(estimator.encode())
    marker = MARKERS[(number // len(OTHERS)) % len(MARKERS)]
    if role is Role.BASELINE:
        return Look(FLOOR.color, marker, FLOOR.line)
    return Look(OTHERS[number % len(OTHERS)], marker, "-" if role is Role.ESTIMATOR else DASHED)
