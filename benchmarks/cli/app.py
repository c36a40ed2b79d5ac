"""The application: its commands, exit status, and errors without tracebacks.

The module of a command is imported when the command is called, so `supertau --help` and `--version` answer at once.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import warnings
from importlib.metadata import version
from types import FrameType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from supertau.benchmarks.cli.output import ERROR, INTERRUPTED, TERMINATED, print_error, print_note
from supertau.benchmarks.runs.stop import Terminated
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
    """The group of all commands; Ctrl-C and SIGTERM end any of them with a sentence, while it is imported as well."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; exit with 130 after Ctrl-C, with 143 after SIGTERM."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            print_error("interrupted; what was finished is kept, and the same command again goes on.")
            raise typer.Exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None

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
    """Run the command line.

    Exit status: 0 for success, 1 for a failed run or check, 2 for an error, 130 for Ctrl-C, 143 for SIGTERM.
    """
    _ready_streams()
    terminated: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        terminated.append(number)
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    warnings.showwarning = lambda message, *_, **__: print_note(f"warning: {message}")
    try:
        _look_here_last()
        app(prog_name="supertau")
    except SupertauError as error:
        print_error(str(error))
        sys.exit(ERROR)
    except OSError as error:  # what the suite itself expects of files has a better message
        place = f"'{error.filename}': " if error.filename else ""
        print_error(f"{place}{error.strerror or error}.")
        sys.exit(ERROR)
    except SystemExit as error:  # a run that was asked to stop by SIGTERM has saved, and ends like one after Ctrl-C
        sys.exit(TERMINATED if terminated and error.code == INTERRUPTED else error.code)
    except KeyboardInterrupt as stop:
        print_error("interrupted")
        sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)


def _ready_streams() -> None:
    """Let output never fail: neither for letters that the terminal lacks nor where the caller closed a stream."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _look_here_last() -> None:
    # `supertau check my_module:MyEstimator` must find a module in the folder it is called from. That folder comes last:
    # a file random.py there must not take the place of the standard library's.
    try:
        here = os.getcwd()
    except FileNotFoundError:
        raise SupertauError("the folder that this was started in was deleted. Change to another one.") from None
    if here not in sys.path:
        sys.path.append(here)
