"""The leaderboard as one HTML page that needs no network: sortable tables, figures, notes, provenance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from supertau.benchmarks.metrics import METRICS
from supertau.benchmarks.record import Role
from supertau.benchmarks.report.cells import cell_text
from supertau.benchmarks.report.looks import look
from supertau.benchmarks.report.markdown import ranks
from supertau.benchmarks.report.notes import SHORT, method_notes
from supertau.benchmarks.report.numbers import DASH, duration, memory, number, quantity
from supertau.benchmarks.report.provenance import RUN, run_line, truths
from supertau.benchmarks.report.strip import strip
from supertau.benchmarks.report.table import TAU, Row, Table

BADGES = {
    Role.BASELINE: "reference",
    Role.CEILING: "reference",
    Role.CHANCE: "reference",
    Role.ZERO_COST: "zero-cost",
    Role.EXTERNAL: "scores made elsewhere",
}
FIGURES = (
    ("", ("leaderboard",), "wide"),
    ("", ("overlap", "training"), "two"),
    ("Score against stand-alone accuracy", ("scatter",), ""),
    ("Ranks", ("ranks",), ""),
)
"""Sections of figures: heading, kinds, and how they are laid out."""


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    kind: str
    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        """The image as text, for an address that holds its own data."""
        return base64.b64encode(self.png).decode()


def page(tables: Sequence[Table], pictures: Mapping[int, Sequence[Picture]], damaged: Sequence[str] = ()) -> str:
    """Return the page; pictures: figures by the place of their table in `tables`; damaged: as in `markdown`."""
    records = list({one.record.run_id: one.record for table in tables for one in table.runs}.values())
    return _environment().get_template("page.html.j2").render(
        tables=tables,
        pictures=pictures,
        damaged=damaged,
        finished=len(records),
        failed=len({failure.run_id for table in tables for failure in table.failures}),
        notes=method_notes(tables),
        truths=truths(tables),
        run_heads=RUN,
        run_lines=[run_line(record) for record in records],
    )  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("supertau.benchmarks.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {
        "BADGES": BADGES, "DASH": DASH, "FIGURES": FIGURES, "METRICS": METRICS, "SHORT": SHORT, "TAU": TAU,
        "chance": chance, "cell_text": cell_text, "color": _color, "ranks": ranks, "strip": strip,
    }  # fmt: skip
    environment.filters |= {"duration": duration, "memory": memory, "number": number, "quantity": quantity}
    return environment


def _color(row: Row) -> str:
    """Return the colour of an estimator in the figures."""
    return look(row.estimator, row.role).color


def chance(table: Table, view: str, key: str) -> str:
    """Say the chance level of a metric, and its view where that is not the table's."""
    level = next((c.chance for r in table.rows if (c := r.cell(view, key)) and c.chance is not None), None)
    parts = ["" if view == table.view else view, "" if level is None else f"chance {level:.3g}"]
    return ", ".join(filter(None, parts))
