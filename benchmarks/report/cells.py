"""One number of a table: the mean over seeds of one metric, with its interval, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from supertau.benchmarks.metrics import metric, runs_summary
from supertau.benchmarks.record import CostInfo, MetricRow
from supertau.benchmarks.report.numbers import number

Interval = Literal["runs", "pool", "none"]


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


def finite(value: float | None) -> float | None:
    """Return a number, None for NaN and infinity, which a record written by hand may hold."""
    return None if value is None or not math.isfinite(value) else float(value)


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the finite numbers among values, None when there is none."""
    numbers = [v for v in map(finite, values) if v is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def mean_cost(costs: Sequence[CostInfo]) -> CostInfo:
    """Return the mean of each cost over the runs that know it; what plugins count besides is left out."""
    names = [f.name for f in fields(CostInfo) if f.name != "other"]
    means = {name: mean([getattr(cost, name) for cost in costs]) for name in names}
    return CostInfo.of({name: value for name, value in means.items() if value is not None})


def summarise(entries: Sequence[MetricRow]) -> Cell:
    """Return the cell of one metric from its rows in the records of a group, one row per run."""
    values = [v for v in (finite(e.value) for e in entries) if v is not None]
    missing = [e.undefined or "no value in the record" for e in entries if finite(e.value) is None]
    reasons = sorted({reason.removeprefix("undefined: ") for reason in missing})
    common: dict[str, Any] = {
        "undefined": "; ".join(reasons) or None,
        "values": tuple(values),
        "runs": len(entries),
        "chance": mean([e.chance for e in entries]),
        "ceiling": mean([e.ceiling for e in entries]),
        "n": min((e.n for e in entries), default=None),
    }
    if not values:
        return Cell(value=None, **{**common, "undefined": common["undefined"] or "no run"})
    summary = runs_summary(values)
    # Runs that agree to the last bit are copies (a deterministic method): they say nothing about other runs.
    if summary.low is not None and summary.high is not None and len(set(values)) > 1:
        least, most = metric(entries[0].key).bounds  # Student's interval of three runs knows no bounds
        common.update(low=max(summary.low, least), high=min(summary.high, most), interval="runs")
        return Cell(summary.mean, sd=summary.sd, **common)
    low, high = mean([e.low for e in entries]), mean([e.high for e in entries])
    known = low is not None and high is not None
    return Cell(
        summary.mean,
        sd=summary.sd,
        low=low if known else None,
        high=high if known else None,
        interval="pool" if known else "none",
        **common,
    )


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
