"""The application: subcommands, exit status, and errors without tracebacks."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version

import typer

from supertau.benchmarks.cli import check, compare, data, listing, new_estimator, report, run, score, search, truth
from supertau.benchmarks.cli.output import ERROR, INTERRUPTED, print_error, print_note
from supertau.search_spaces.errors import SupertauError

app = typer.Typer(
    name="supertau",
    help="How well do one-shot NAS estimators rank architectures? Train supernets, compare their scores with "
    "ground-truth accuracies, and write leaderboards and figures. Start with: supertau list",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:
    if value:
        print(f"supertau {version('supertau')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
    ),
) -> None:
    pass


for name, module in (
    ("list", listing),
    ("run", run),
    ("score", score),
    ("report", report),
    ("compare", compare),
    ("check", check),
    ("new-estimator", new_estimator),
    ("search", search),
):
    app.command(name, epilog=module.EXAMPLES)(module.command)
app.add_typer(data.app, name="data")
app.add_typer(truth.app, name="truth")


def main() -> None:
    """Run the command line; exit status 0 for success, 1 for a failed run or check, 2 for an error, 130 for Ctrl-C."""
    # `supertau check my_module:MyEstimator` must find a module in the folder it is called from.
    sys.path.insert(0, os.getcwd())
    warnings.showwarning = lambda message, *_, **__: print_note(f"warning: {message}")
    try:
        app()
    except SupertauError as error:
        print_error(str(error))
        sys.exit(ERROR)
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(INTERRUPTED)
