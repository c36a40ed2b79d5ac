"""What every command prints with: streams, exit status, tables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import typer

FAILED, ERROR, INTERRUPTED, TERMINATED = 1, 2, 130, 143


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that colours and progress bars can be drawn in."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(text: object, *, end: str = "\n", **style: Any) -> None:
    """Write a result to standard output; style: as `typer.style`, left out where it cannot be shown."""
    _write(sys.stdout, str(text), end, style)


def print_note(message: str) -> None:
    """Write a remark to standard error."""
    _write(sys.stderr, message, "\n", {})


def print_error(message: str) -> None:
    """Write an error to standard error."""
    _write(sys.stderr, "error:", " ", {"fg": "red", "bold": True})
    _write(sys.stderr, message, "\n", {})


def print_json(value: Any) -> None:
    """Write JSON to standard output."""
    print(json.dumps(value, indent=1, default=str))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to standard output."""
    # rich is slow to import, and only commands that print tables need it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_edge=False)
    for place, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        drawn.add_row(*map(Text, row))
    # rich follows NO_COLOR and leaves colours out where the stream is not a terminal.
    console = Console(highlight=False, soft_wrap=True)
    console.print(drawn)
    console.print()


def _write(stream: TextIO, text: str, end: str, style: dict[str, Any]) -> None:
    """Write in one call, so that what several threads write stays in whole lines."""
    if style and is_terminal(stream) and not os.environ.get("NO_COLOR"):
        text = typer.style(text, **style)
    stream.write(f"{text}{end}")
    stream.flush()
