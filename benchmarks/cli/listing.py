"""supertau list: what there is, what is installed, and how to get what is missing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from supertau.benchmarks.cli.options import Json, application
from supertau.benchmarks.cli.output import print_json, table
from supertau.benchmarks.listing import KINDS, listing

EXAMPLES = """Examples:

supertau list

supertau list estimators

supertau list --json"""

Rows = list[dict[str, Any]]

app = application()


@app.command("list", epilog=EXAMPLES)
def command(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)} [default: all].")] = None,
    as_json: Json = False,
) -> None:
    """Show spaces, truths, images, estimators, metrics, presets.

    Plugins are among them, also those that are broken, and what is missing says how to get it.
    """
    kinds = listing(kind)
    if as_json:
        print_json(kinds)
        return
    for name, rows in kinds.items():
        SHOW[name](rows)


def size_of(count: int) -> str:
    """Return a number of architectures, in full up to a million."""
    return f"{count:,}" if count < 10**6 else f"{float(count):.1e}"


def _show_spaces(rows: Rows) -> None:
    cells = [[r["name"], size_of(r["size"]), f"{d}: {state}"] for r in rows for d, state in r["truths"].items()]
    table("Search spaces and ground truths", ["space", "architectures", "ground truth"], cells)


def _show_images(rows: Rows) -> None:
    table("Image sets", ["images", "state"], [[r["name"], r["state"]] for r in rows])


def _show_estimators(rows: Rows) -> None:
    cells = [
        [r["name"], "broken", r["broken"], ""] if "broken" in r else [r["name"], r["role"], r["source"], r["from"]]
        for r in rows
    ]
    table("Estimators", ["estimator", "role", "source", "from"], cells)
    for row in rows:
        if row.get("settings"):
            presets = row["presets"]
            table(
                f"Settings of {row['name']} (--set name=value)",
                ["setting", "default", *presets],
                [
                    [key, str(value), *(str(changed.get(key, "")) for changed in presets.values())]
                    for key, value in row["settings"].items()
                ],
            )


def _show_metrics(rows: Rows) -> None:
    table("Metrics", ["metric", "better", "what"], [[r["name"], r["direction"], r["description"]] for r in rows])


def _show_presets(rows: Rows) -> None:
    keys = [key for key in rows[0] if key not in ("name", "description")]
    table("Presets", ["", *(r["name"] for r in rows)], [[key, *(str(r[key]) for r in rows)] for key in keys])
    table("", ["preset", ""], [[r["name"], r["description"]] for r in rows])


SHOW = {
    "spaces": _show_spaces,
    "images": _show_images,
    "estimators": _show_estimators,
    "metrics": _show_metrics,
    "presets": _show_presets,
}
