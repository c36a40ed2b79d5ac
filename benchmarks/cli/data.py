"""supertau data: what files there are, fetching and verifying them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from supertau.benchmarks.cli.options import Json, Quiet, application
from supertau.benchmarks.cli.output import FAILED, is_terminal, print_json, say, table
from supertau.benchmarks.data import verify as data

app = application(
    help="List, fetch and verify images and benchmark files.\n\nThe files are in the folder that SUPERTAU_DATA "
    "names, by default in the platform's cache folder.",
    epilog="Example: supertau data fetch cifar10",
    no_args_is_help=True,
)


def _size(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e6:,.1f} MB"


@app.command("list", epilog="Example: supertau data list")
def list_command(as_json: Json = False) -> None:
    """Show every file set, whether it is there, and where it belongs."""
    rows = data.list_data()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    table(
        f"Files in {data.cache_folder()}",
        ["key", "state", "size", "licence", "what"],
        [[r.key, "present" if r.present else "missing", _size(r.size), r.licence, r.what] for r in rows],
    )
    for row in rows:
        if not row.present:
            say(f"{row.key}: {row.note}".rstrip(": "))
            for line in row.how:
                say(f"  {line}")


@app.command("fetch", epilog="Example: supertau data fetch cifar10")
def fetch_command(
    keys: Annotated[list[str], typer.Argument(help="Keys from `supertau data list`.")],
    force: Annotated[bool, typer.Option("--force", help="Download even what is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Download, check and unpack files."""
    for key in keys:
        paths = data.fetch(key, progress=is_terminal(sys.stderr) and not quiet, force=force)
        if not quiet:
            for path in paths:
                say(path)


@app.command("verify", epilog="Examples: supertau data verify; supertau data verify cifar10")
def verify_command(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys; all that are there when none is given.")] = None,
    as_json: Json = False,
) -> None:
    """Compare files with their checksums, and read images.

    Exit status 1 when something is wrong.
    """
    rows = data.verify(keys or [row.key for row in data.list_data() if row.present])
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        table("Files", ["key", "file", "state", "detail"], [[r.key, r.file, str(r.state), r.detail] for r in rows])
    if not all(row.state.is_good for row in rows):
        raise typer.Exit(FAILED)
