"""One number of a table: the mean over seeds of one metric, with its interval, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from supertau.benchmarks.metrics import runs_summary

Interval = Literal["runs", "pool", "none"]
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
"""What stands where a number does not apply."""


@dataclass(frozen=True)
class Cell:
    """A metric over the runs of a group.

    value: mean over the runs that have one, None when none has (then `undefined` says why). values: those runs' values.
    sd: over runs, from two on. low, high: 95 % interval; `interval` says over what: "runs" (Student t, from 3 runs
    on), "pool" (architectures; mean of the runs' own intervals) or "none". n: architectures judged.
    """

    value: float | None
    undefined: str | None = None
    values: tuple[float, ...] = ()
    runs: int = 0
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    interval: Interval = "none"
    chance: float | None = None
    ceiling: float | None = None
    n: int | None = None


def finite(value: object) -> float | None:
    """Return a number as float, None for anything else, NaN and infinity included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def mean(values: Sequence[object]) -> float | None:
    """Return the mean of the finite numbers among values, None when there is none."""
    numbers = [v for v in map(finite, values) if v is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def possible(key: str) -> tuple[float, float]:
    """Return the least and the largest value a metric can have: Student's interval of three runs knows no bounds."""
    if "tau" in key or key in ("spearman", "pearson"):
        return -1.0, 1.0
    if key.startswith(("p_at_", "best_rank", "worst_rank")):
        return 0.0, 1.0
    return 0.0, 10.0 if key.startswith("hits_at_10") else math.inf


def summarise(entries: Sequence[Mapping[str, Any]]) -> Cell:
    """Return the cell of one metric from its entries in the records of a group, one entry per run."""
    values = [v for v in (finite(e.get("value")) for e in entries) if v is not None]
    missing = [str(e.get("undefined") or "no value in the record") for e in entries if finite(e.get("value")) is None]
    reasons = sorted({reason.removeprefix("undefined: ") for reason in missing})
    sizes = [int(e["n"]) for e in entries if finite(e.get("n")) is not None]
    common: dict[str, Any] = {
        "undefined": "; ".join(reasons) or None,
        "values": tuple(values),
        "runs": len(entries),
        "chance": mean([e.get("chance") for e in entries]),
        "ceiling": mean([e.get("ceiling") for e in entries]),
        "n": min(sizes) if sizes else None,
    }
    if not values:
        return Cell(value=None, **{**common, "undefined": common["undefined"] or "no run"})
    summary = runs_summary(values)
    # Runs that agree to the last bit are copies (a deterministic method): they say nothing about other runs.
    if summary.low is not None and summary.high is not None and len(set(values)) > 1:
        least, most = possible(str(entries[0].get("key", "")))
        common.update(low=max(summary.low, least), high=min(summary.high, most), interval="runs")
        return Cell(summary.mean, sd=summary.sd, **common)
    low, high = mean([e.get("low") for e in entries]), mean([e.get("high") for e in entries])
    known = low is not None and high is not None
    return Cell(
        summary.mean,
        sd=summary.sd,
        low=low if known else None,
        high=high if known else None,
        interval="pool" if known else "none",
        **common,
    )


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with fixed decimals and a true minus sign, a dash for None."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def cell_text(cell: Cell | None, digits: int = 3, *, interval: bool = True) -> str:
    """Return a cell for reading: `0.392 [0.371, 0.413]`, or `undefined: reason`."""
    if cell is None:
        return "undefined: not in the record"
    if cell.value is None:
        return f"undefined: {cell.undefined}"
    text = number(cell.value, digits)
    if interval and cell.low is not None:
        text += f" [{number(cell.low, digits)}, {number(cell.high, digits)}]"
    return text


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
