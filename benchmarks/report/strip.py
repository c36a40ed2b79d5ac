"""The small drawing of an interval in a row of the page: floor, tau with its seeds, and ceiling on one axis."""

from __future__ import annotations

from dataclasses import dataclass

from supertau.benchmarks.report.cells import Cell, cell_text
from supertau.benchmarks.report.table import TAU, Table


@dataclass(frozen=True)
class Strip:
    """Where the marks stand, in units of the drawing, which is 110 wide; None and empty: not drawn."""

    label: str
    zero: str
    floor: str | None
    ceiling: str | None
    seeds: tuple[str, ...]
    low: str | None
    high: str | None
    mean: str


def strip(table: Table, cell: Cell | None) -> Strip | None:
    """Return the drawing of a tau on the axis from the lowest limit of the table to 1; None where there is none."""
    if cell is None or cell.value is None:
        return None
    cells = [c for r in table.rows if (c := r.cell(table.view, TAU))]
    left = min([-0.02, *(v for c in cells for v in (c.value, c.low) if v is not None)])

    def x(value: float) -> str:
        return f"{4 + 102 * (min(max(value, left), 1.0) - left) / (1.0 - left):.1f}"

    floor = table.floor.tau(table.view) if table.floor else None
    has_range = cell.low is not None and cell.high is not None
    return Strip(
        label=cell_text(cell),
        zero=x(0),
        floor=None if floor is None else x(floor),
        ceiling=None if table.ceiling is None else x(table.ceiling),
        seeds=tuple(x(v) for v in cell.values) if len(cell.values) > 1 else (),
        low=x(cell.low) if has_range and cell.low is not None else None,
        high=x(cell.high) if has_range and cell.high is not None else None,
        mean=x(cell.value),
    )
