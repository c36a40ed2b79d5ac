"""The options of commands: those that several share, and those that are generated from their declarations."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from enum import Enum, StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand

from supertau.benchmarks.options import Help

Results = Annotated[Path, typer.Option(help="Folder that records are kept in.", envvar="SUPERTAU_RESULTS")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]
RESULTS = Path("results/local")

Command = Callable[..., None]


def application(**settings: Any) -> typer.Typer:
    """Return the application of one command or of one group of them, as `typer.Typer`, with plain help pages."""
    return typer.Typer(rich_markup_mode=None, add_completion=False, **settings)


def takes(*declarations: type) -> Callable[[Command], Command]:
    """Return a decorator: a function with a parameter `**options` takes the options of TypedDicts by name.

    An option of the command line is made of each key, with the help and the least value that it is declared with. Only
    the options that the user gave are passed on, so the defaults stand where the options are used.
    """

    def decorate(function: Command) -> Command:
        signature = inspect.signature(function, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        generated = [parameter for declaration in declarations for parameter in _parameters(declaration)]
        names = {p.name for p in generated}

        @wraps(function)
        def command(**values: Any) -> None:
            given = {n: _plain(v) for n, v in values.items() if n in names and v is not None and v is not False}
            function(**{n: v for n, v in values.items() if n not in names}, **given)

        command.__signature__ = signature.replace(parameters=_placed(own, generated))  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [*own, *generated]}
        return command

    return decorate


def _placed(own: list[inspect.Parameter], generated: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return all parameters by keyword, in the order of the help page: generated ones before those that all share."""
    shared = {"results", "as_json", "quiet"}
    parameters = [
        *(p for p in own if p.name not in shared), *generated, *(p for p in own if p.name in shared),
    ]  # fmt: skip
    return [p.replace(kind=p.KEYWORD_ONLY) for p in parameters]


def _parameters(declaration: type) -> list[inspect.Parameter]:
    """Return a parameter for each key of a TypedDict whose values are `Annotated[type, Help(...)]`."""
    panel = (inspect.getdoc(declaration) or "").partition(".")[0]
    hints = typing.get_type_hints(declaration, include_extras=True)
    return [_parameter(name, *get_args(hint), panel=panel) for name, hint in hints.items()]


def _parameter(name: str, kind: Any, about: Help, *, panel: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    option = typer.Option(flag, help=about.text, min=about.least, rich_help_panel=panel)
    if get_origin(kind) is Literal:
        enum: Any = StrEnum  # which every version of typer knows
        kind = enum(name, list(get_args(kind)))
    if kind is not bool:
        kind = kind | None
    annotation: Any = Annotated[kind, option]
    default = False if kind is bool else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


class GroupedCommand(TyperCommand):
    """A command whose help page shows generated options under the heading of their declaration."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section per heading; typer does so only when rich draws the help."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(row)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
