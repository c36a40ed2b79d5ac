"""Numbers as people read them: fixed decimals, unit prefixes, times and bytes."""

from __future__ import annotations

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
"""What stands where a number does not apply."""


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with fixed decimals and a true minus sign, a dash for None."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def quantity(value: float | None) -> str:
    """Return a count with a unit prefix: 1234567 as 1.23M; a dash for None."""
    if value is None:
        return DASH
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """Return a time for reading: `8.1 s`, `3.4 min`, `2.0 h`; a dash for None."""
    if seconds is None:
        return DASH
    if 0 < seconds < 0.1:
        return "< 0.1 s"
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def memory(amount: float | None) -> str:
    """Return bytes for reading, in binary units; a dash for None."""
    if amount is None:
        return DASH
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if amount >= 1024**power:
            return f"{amount / 1024**power:.3g} {unit}"
    return f"{amount:.0f} B"
