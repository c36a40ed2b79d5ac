"""The leaderboard as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from supertau.benchmarks.metrics import METRICS
from supertau.benchmarks.report.cells import Cell, cell_text
from supertau.benchmarks.report.notes import SHORT, method_notes
from supertau.benchmarks.report.numbers import DASH, duration, memory, number, quantity
from supertau.benchmarks.report.table import TAU, Row, Table

SPECIAL = "\\`*_[]<>|#~"


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return "".join(f"\\{c}" if c in SPECIAL else c for c in " ".join(text.split()))


def over_seeds(cell: Cell | None) -> str:
    """Return `0.392 ± 0.012 (n = 3)`, or the value with n = 1."""
    if cell is None or cell.value is None or cell.runs == 0:
        return DASH
    spread = f" ± {number(cell.sd)}" if cell.sd is not None else ""
    return f"{number(cell.value)}{spread} (n = {len(cell.values)})"


def ranks(rows: Sequence[Row], view: str) -> list[str]:
    """Return the place of each row among the competitors' primary columns, a dash for the others."""
    place, texts = 0, []
    for row in rows:
        counts = not row.reference and row.primary and row.tau(view) is not None
        place += counts
        texts.append(str(place) if counts else DASH)
    return texts


def markdown(tables: Sequence[Table], damaged: Sequence[str] = ()) -> str:
    """Return the whole leaderboard: one section per task, the method notes at the end.

    damaged: why records that should be in it cannot be read.
    """
    lines = ["# Leaderboard", ""]
    for table in tables:
        lines += [f"## {escape(table.title)}", "", escape(table.caption), "", *_grid(table), ""]
        if any(r.verdict is False for r in table.rows) and table.floor is not None:
            bar = number(table.floor.tau(table.view))
            lines += [f"▽ interval not above the best free baseline, {escape(table.floor.label)} (τ {bar}).", ""]
        lines += [
            "Rows in *italics* are references: the noise ceiling, rankings that cost no training, and random order.",
            "",
        ]
        lines += [f"**Warning:** {escape(text)}\n" for text in table.doubts]
        if table.failures:
            lines += ["**Runs without a result**", ""]
            lines += [
                f"- {escape(f.label)}, seed {f.seed} ({escape(f.run_id)}): {escape(f.message)}" for f in table.failures
            ]
            lines.append("")
    if damaged:
        lines += ["## Records that cannot be read", "", *(f"- {escape(text)}" for text in damaged), ""]
    lines += ["## How to read this", ""]
    lines += [f"- **{term}.** {text}" for term, text in method_notes(tables)]
    return "\n".join(lines) + "\n"


def _grid(table: Table) -> list[str]:
    shown = table.shown
    head = [
        "#",
        "Estimator",
        "Score column",
        f"τ ({table.view}) [95 %]",
        "interval",
        "over seeds",
        f"τ ({table.other_view})",
    ]
    head += [METRICS[k].short + ("" if v == table.view else f", {v}") for v, k in shown]
    head += ["train images", "scoring images", "train", "score", "device", "memory", "supernet parameters", "note"]
    grid = [head, ["--:", ":--", ":--", *["--:"] * (len(head) - 4), ":--"]]
    for place, row in zip(ranks(table.rows, table.view), table.rows, strict=True):
        tau = row.cell(table.view, TAU)
        name = f"*{escape(row.label)}* (reference)" if row.reference else f"**{escape(row.label)}**"
        c = row.cost
        grid.append(
            [
                place,
                name + (" ▽" if row.verdict is False else ""),
                escape(row.column) or DASH,
                escape(cell_text(tau)),
                SHORT[tau.interval] if tau else DASH,
                over_seeds(tau),
                escape(cell_text(row.cell(table.other_view, TAU), interval=False)),
                *(escape(cell_text(row.cell(v, k), METRICS[k].digits, interval=False)) for v, k in shown),
                quantity(c.train_images),
                quantity(c.score_images),
                escape(duration(c.train_seconds)),
                escape(duration(c.score_seconds)),
                escape(", ".join(row.devices)) or DASH,
                memory(c.peak_memory_bytes),
                quantity(c.supernet_parameters),
                escape("; ".join(row.notes)),
            ]
        )
    return ["| " + " | ".join(line) + " |" for line in grid]
