"""What every subcommand shares: streams, exit status, options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

FAILED, ERROR, INTERRUPTED = 1, 2, 130

# rich follows NO_COLOR and leaves colours out where the stream is not a terminal.
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Results = Annotated[Path, typer.Option(help="Folder that records are kept in.", envvar="SUPERTAU_RESULTS")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]
RESULTS = Path("results/local")


def print_error(message: str) -> None:
    """Write an error to standard error."""
    err.print(f"[bold red]error:[/] {_escaped(message)}")


def print_note(message: str) -> None:
    """Write a remark to standard error."""
    err.print(_escaped(message))


def print_json(value: Any) -> None:
    """Write JSON to standard output."""
    print(json.dumps(value, indent=1, default=str))


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Write a table to standard output."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_edge=False)
    for place, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        drawn.add_row(*(_escaped(cell) for cell in row))
    out.print(drawn)
    out.print()


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
