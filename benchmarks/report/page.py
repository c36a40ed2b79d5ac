"""The leaderboard as one HTML page that needs no network: sortable tables, figures, notes, provenance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from supertau.benchmarks.report.cells import DASH, Cell, cell_text, duration, memory, number, quantity
from supertau.benchmarks.report.labels import digits_of, metric_label, shown_metrics
from supertau.benchmarks.report.leaderboard import TAU, Row, Table
from supertau.benchmarks.report.markdown import ranks
from supertau.benchmarks.report.notes import SHORT, method_notes
from supertau.benchmarks.report.page_assets import CSS, JS
from supertau.benchmarks.report.plots import Plot, table_slug
from supertau.benchmarks.report.provenance import provenance
from supertau.benchmarks.report.style import look

if TYPE_CHECKING:
    pass

BADGES = {
    "baseline": "reference",
    "ceiling": "reference",
    "chance": "reference",
    "zero_cost": "zero-cost",
    "external": "scores made elsewhere",
}


def page(tables: Sequence[Table], plots: Mapping[int, Sequence[Plot]]) -> str:
    """Return the page; plots: figures by position of their table in `tables`."""
    runs = list({r.record["run_id"]: r for t in tables for r in t.runs}.values())
    failed = len({f.run_id for t in tables for f in t.failures})
    summary = f"{len(runs)} finished run{'s' * (len(runs) != 1)}" + (f", {failed} without a result" if failed else "")
    links = "".join(f'<li><a href="#{_id(i)}">{escape(t.task.title)}</a></li>' for i, t in enumerate(tables))
    sections = "\n".join(_section(i, t, plots.get(i, ())) for i, t in enumerate(tables))
    notes = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in method_notes(tables))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="supertau report">
<title>supertau leaderboard</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>Does the supernet rank architectures the way stand-alone training does?</h1>
<p class="lead">A leaderboard of one-shot estimators: {summary}, in {len(tables)} task{"s" * (len(tables) != 1)}.
Every number is derived from stored per-architecture scores.</p>
{f'<nav aria-label="Tasks"><ul>{links}</ul></nav>' if len(tables) > 1 else ""}
</header>
<main>
<p id="status" role="status" style="position:absolute;left:-9999px"></p>
{sections}
<h2>How to read this</h2>
<dl>{notes}</dl>
<h2>Provenance</h2>
{provenance(runs)}
</main>
<footer>Written by <code>supertau report</code>. The same numbers, every metric at full precision:
<code>leaderboard.csv</code> (over seeds) and <code>runs.csv</code> (each run).</footer>
<script>{JS}</script>
</body>
</html>
"""


def _id(place: int) -> str:
    return f"task-{place + 1}"


def _section(place: int, table: Table, plots: Sequence[Plot]) -> str:
    name = _id(place)
    shown = shown_metrics(table)
    heads = [
        _head("#", "", "text"),
        _head("Estimator", "score column", "text", first="ascending"),
        _head(f"τ ({table.view})", "95 % interval, over", sort="descending"),
        _head("", "floor · τ · ceiling", plain=True),
        _head("seeds", "sd over n", first="ascending"),
        _head(f"τ ({table.other_view})", "95 % interval"),
    ]
    heads += [_head(metric_label(key).partition(" (")[0], _chance(table, view, key)) for view, key in shown]
    heads += [
        _head("training", "images, time", first="ascending"),
        _head("scoring", "images, time", first="ascending"),
        _head("supernet", "parameters", first="ascending"),
        _head("memory", "peak, device", first="ascending"),
    ]
    places = ranks(table.rows, table.view)
    body = "\n".join(_row(table, row, where, shown) for row, where in zip(table.rows, places, strict=True))
    grid = (
        f"""<div class="tools"><label>Filter rows <input type="search" data-table="{name}-table"
autocomplete="off" spellcheck="false"></label><span class="shown" role="status"></span></div>
<div class="scroll" tabindex="0" role="region" aria-label="Leaderboard of {escape(table.task.title)}">
<table class="sortable" id="{name}-table"><thead><tr>{"".join(heads)}</tr></thead>
<tbody>
{body}
</tbody></table></div>
{_key(table)}"""
        if table.rows
        else "<p>No run of this task has a result yet.</p>"
    )
    return f"""<section id="{name}" data-task="{escape(table_slug(table))}">
<h2>{escape(table.task.title)}</h2>
<p class="caption">{escape(table.caption)}</p>
{grid}
{_failures(table)}
{_figures(plots)}
</section>"""


def _head(
    label: str, small: str, kind: str = "number", *, sort: str = "none", first: str = "", plain: bool = False
) -> str:
    below = f"<small>{escape(small)}</small>" if small else ""
    if plain:
        return f'<th scope="col" class="{kind}">{escape(label) or "<span></span>"}{below}</th>'
    start = f' data-first="{first}"' if first else ""
    button = f'<button type="button">{escape(label)}</button>'
    return f'<th scope="col" class="{kind}" aria-sort="{sort}"{start}>{button}{below}</th>'


def _chance(table: Table, view: str, key: str) -> str:
    """Say the variant and the chance level of a metric, and its view where that is not the table's."""
    chance = next((c.chance for r in table.rows if (c := r.cell(view, key)) and c.chance is not None), None)
    parts = [key.partition(":")[2], "" if view == table.view else view]
    if chance is not None:
        parts.append(f"chance {chance:.3g}")
    return ", ".join(filter(None, parts))


def _row(table: Table, row: Row, place: str, shown: Sequence[tuple[str, str]]) -> str:
    tau = row.cell(table.view, TAU)
    badges = [f'<span class="badge">{BADGES[row.role]}</span>'] if row.role in BADGES else []
    if row.verdict is False:
        badges.append('<span class="badge below">▽ not above floor</span>')
    swatch = f'<span class="swatch" style="background:{look(row.estimator, row.role).color}"></span>'
    notes = [n for n in row.notes if not n.startswith("not above")]
    below = f"<small>{escape(row.column)} {''.join(badges)}</small>" + "".join(
        f"<small>{escape(n)}</small>" for n in notes
    )
    title = f' title="{escape(row.source)}"' if row.source else ""
    rank = place if place.isdigit() else ""
    cells = [
        f'<td class="text" data-value="{rank.zfill(4) if rank else ""}">{escape(place)}</td>',
        f'<td class="text name" data-value="{escape(row.label)}"{title}>{swatch}{escape(row.label)}{below}</td>',
        _cell(tau, over=True),
        f"<td>{_strip(table, tau)}</td>",
        _seeds(tau, row),
        _cell(row.cell(table.other_view, TAU)),
        *(_cell(row.cell(view, key), digits_of(key)) for view, key in shown),
    ]
    c = row.cost
    cells += [
        _cost(c.get("train_images"), quantity(c.get("train_images")), duration(c.get("train_seconds"))),
        _cost(c.get("score_images"), quantity(c.get("score_images")), duration(c.get("score_seconds"))),
        _cost(c.get("supernet_parameters"), quantity(c.get("supernet_parameters"))),
        _cost(c.get("peak_memory_bytes"), memory(c.get("peak_memory_bytes")), ", ".join(row.devices)),
    ]
    kind = ' class="reference"' if row.reference else ""
    return f'<tr{kind} data-role="{escape(row.role)}">{"".join(cells)}</tr>'


def _cell(cell: Cell | None, digits: int = 3, *, over: bool = False) -> str:
    """Return a number with its interval below it, and what the interval is over."""
    if cell is None or cell.value is None:
        return f'<td class="undefined">{escape(cell_text(cell, digits))}</td>'
    kind = f" {SHORT[cell.interval]}" if over else ""
    low, high = number(cell.low, digits), number(cell.high, digits)
    below = "" if cell.low is None else f"<small>[{low}, {high}]{kind}</small>"
    return f'<td data-value="{cell.value!r}">{number(cell.value, digits)}{below}</td>'


def _seeds(cell: Cell | None, row: Row) -> str:
    """Show the standard deviation over seeds with their number; a reference that was never run has none."""
    if cell is None or cell.value is None or not row.run_ids:
        return f"<td>{DASH}</td>"
    below = f"<small>n = {len(cell.values)}</small>"
    if cell.sd is None:
        return f"<td>{DASH}{below}</td>"
    return f'<td data-value="{cell.sd!r}">± {number(cell.sd)}{below}</td>'


def _cost(value: float | None, text: str, small: str = DASH) -> str:
    below = "" if small == DASH or not small else f"<small>{escape(small)}</small>"
    return f"<td>{DASH}{below}</td>" if value is None else f'<td data-value="{value!r}">{escape(text)}{below}</td>'


def _strip(table: Table, cell: Cell | None) -> str:
    """Return a small drawing of an interval on the axis from the lowest limit of the table to 1."""
    if cell is None or cell.value is None:
        return ""
    cells = [c for r in table.rows if (c := r.cell(table.view, TAU))]
    left = min([-0.02, *(v for c in cells for v in (c.value, c.low) if v is not None)])

    def x(value: float) -> str:
        return f"{4 + 102 * (min(max(value, left), 1.0) - left) / (1.0 - left):.1f}"

    marks = [f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="2" y2="16"/>']
    floor = table.floor.tau(table.view) if table.floor else None
    for kind, value in (("floor", floor), ("ceiling", table.ceiling)):
        if value is not None:
            marks.append(f'<line class="{kind}" x1="{x(value)}" x2="{x(value)}" y1="1" y2="17"/>')
    marks += [f'<circle class="seed" cx="{x(v)}" cy="9" r="2.2"/>' for v in cell.values if len(cell.values) > 1]
    if cell.low is not None and cell.high is not None:
        marks.append(f'<line class="range" x1="{x(cell.low)}" x2="{x(cell.high)}" y1="9" y2="9"/>')
    marks.append(f'<circle class="mean" cx="{x(cell.value)}" cy="9" r="3.2"/>')
    label = escape(cell_text(cell))
    return f'<svg class="interval" viewBox="0 0 110 18" role="img" aria-label="{label}">{"".join(marks)}</svg>'


def _key(table: Table) -> str:
    parts = ["Rows in italics are references, not competitors."]
    floor = table.floor.tau(table.view) if table.floor else None
    if table.floor is not None and floor is not None:
        label = escape(table.floor.label)
        parts.append(f"<b>Floor</b> (orange, dotted): best free baseline, {label}, τ {number(floor)}.")
    if table.ceiling is not None:
        parts.append(f"<b>Noise ceiling</b> (green, dashed): τ {number(table.ceiling)}.")
    if any(r.verdict is False for r in table.rows):
        parts.append("<b>▽</b> the interval of τ does not lie above the floor.")
    return f'<p class="key">{" ".join(parts)}</p>'


def _failures(table: Table) -> str:
    doubts = "".join(f"<li>{escape(text)}</li>" for text in table.doubts)
    warning = f'<div class="failures"><h3>Records that disagree with their scores</h3><ul>{doubts}</ul></div>'
    return (warning if doubts else "") + _unfinished(table)


def _unfinished(table: Table) -> str:
    if not table.failures:
        return ""
    items = "".join(
        f"<li><b>{escape(f.label)}</b>, seed {f.seed} (<code>{escape(f.run_id)}</code>): {escape(f.message)}</li>"
        for f in table.failures
    )
    return f'<div class="failures"><h3>Runs without a result</h3><ul>{items}</ul></div>'


def _figures(plots: Sequence[Plot]) -> str:
    parts = []
    for title, kinds, kind_of_grid in (
        ("", ("leaderboard",), "wide"),
        ("", ("overlap", "training"), "two"),
        ("Score against stand-alone accuracy", ("scatter",), ""),
        ("Ranks", ("ranks",), ""),
    ):
        chosen = [p for p in plots if p.kind in kinds]
        if not chosen:
            continue
        figures = "".join(
            f'<figure><img alt="{escape(p.caption)}" src="data:image/png;base64,'
            f'{base64.b64encode(p.png).decode()}">'
            f"<figcaption>{escape(p.caption)}</figcaption></figure>"
            for p in chosen
        )
        parts.append(f'<h3>{title}</h3><div class="figures {kind_of_grid}">{figures}</div>')
    return "\n".join(parts)
