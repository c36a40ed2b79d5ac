"""The application: its commands, exit status, and errors without tracebacks.

The module of a command is imported when the command is called, so `supertau --help` and `--version` answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from importlib.metadata import version
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from supertau.benchmarks.cli.output import ERROR, INTERRUPTED, print_error, print_note
from supertau.search_spaces.errors import SupertauError

COMMANDS = {
    "list": ("listing", "Show spaces, truths, images, estimators, metrics, presets."),
    "run": ("run", "Train and score estimators; resumable, a record per run."),
    "score": ("score", "Judge scores that were made elsewhere, without training."),
    "report": ("report", "Write leaderboards and figures from the records of runs."),
    "compare": ("compare", "Compare two estimators: difference with 95 % interval."),
    "check": ("check", "Run the conformance kit on estimators, seconds each."),
    "new-estimator": ("new_estimator", "Write a plugin project whose estimator already works."),
    "search": ("search", "Search for a good architecture with a trained estimator."),
    "data": ("data", "List, fetch and verify images and benchmark files."),
    "truth": ("truth", "Make and check ground truth by stand-alone training."),
}
"""For each command its module in this folder, and the first line of its help, as it stands there."""


class Deferred(TyperCommand):
    """A command of which only name and one line of help are known until it is called."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, help=summary, rich_markup_mode=None)
        self.module = f"supertau.benchmarks.cli.{module}"

    def load(self) -> Any:
        """Import the module and return its command, or its group of commands."""
        return get_command(importlib.import_module(self.module).app)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Hand the arguments to the command itself, which the context then belongs to."""
        return self.load().make_context(info_name, args, parent, **extra)


class Commands(TyperGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (module, summary) in COMMANDS.items():
            self.add_command(Deferred(name, module, summary))


app = typer.Typer(
    name="supertau",
    cls=Commands,
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


def main() -> None:
    """Run the command line; exit status 0 for success, 1 for a failed run or check, 2 for an error, 130 for Ctrl-C."""
    # `supertau check my_module:MyEstimator` must find a module in the folder it is called from. That folder comes last:
    # a file random.py there must not take the place of the standard library's.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    warnings.showwarning = lambda message, *_, **__: print_note(f"warning: {message}")
    try:
        app(prog_name="supertau")
    except SupertauError as error:
        print_error(str(error))
        sys.exit(ERROR)
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(INTERRUPTED)
