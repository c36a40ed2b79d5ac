"""The font of the figures: the letters of DejaVu Sans that they use, as a small font of its own.

Every PDF holds the letters that it uses, and matplotlib cuts them out of the font. To cut them out of the whole DejaVu
Sans, which has tables for every script, takes most of the time of a PDF; out of this one it takes little. The glyphs
are the same, and so are the pixels.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from fontTools import subset  # type: ignore[import-untyped] # matplotlib needs it, for the same purpose
from matplotlib import font_manager

WHOLE = "DejaVu Sans"
"""Comes with matplotlib: the same figure on every machine."""
SMALL = "supertau DejaVu Sans"
LETTERS = [*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x391, 0x3CA), *map(ord, "\N{HAIR SPACE}–—…×−≤≥↓▽")]  # noqa: RUF001
NAME, WHOLE_NAME = 1, 4
"""Places of the family and of the full name in a font's table of names."""


@cache
def families() -> list[str]:
    """Return the families to draw with, in this order; matplotlib takes from the second what the first lacks."""
    folder = _folder()
    path = Path(folder.name) / "small.ttf"
    options = subset.Options(layout_features=["*"], hinting=True, name_IDs=[NAME, WHOLE_NAME, 6])
    options.drop_tables += ["FFTM"]  # when the font was made
    font = subset.load_font(font_manager.findfont(WHOLE), options)
    cut = subset.Subsetter(options)
    cut.populate(unicodes=LETTERS)
    cut.subset(font)
    for entry in font["name"].names:
        if entry.nameID == NAME:
            entry.string = SMALL
    font.save(path)
    font_manager.fontManager.addfont(path)
    return [SMALL, WHOLE]


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="supertau-font-")
