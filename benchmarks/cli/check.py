"""supertau check: does an estimator keep to what the suite relies on?"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from supertau.benchmarks.cli.options import Json, Quiet, application
from supertau.benchmarks.cli.output import FAILED, print_json, say
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.errors import SupertauError

if TYPE_CHECKING:
    from supertau.benchmarks.conformance import Result

EXAMPLES = """Examples:

supertau check my_method

supertau check my_package.my_module:MyEstimator

supertau check --all --quiet

Exit status 1 when a check fails."""

STYLES: dict[str, dict[str, Any]] = {
    "passed": {"fg": "green"},
    "skipped": {"dim": True},
    "FAILED": {"fg": "red", "bold": True},
}

app = application()


@app.command("check", epilog=EXAMPLES)
def command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME_OR_PATH", help="Names or 'module:Class'. Several may follow.")
    ] = None,
    space: Annotated[str, typer.Option(help="Search space to check them on.")] = "nasbench201",
    every: Annotated[bool, typer.Option("--all", help="Check every registered estimator, plugins too.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the conformance kit on estimators, seconds each."""
    # torch takes seconds to import, which the help page and shell completion do not need.
    from supertau.benchmarks.conformance import CHECKS, check_estimator

    if every == bool(names):
        raise SupertauError("name the estimators to check, or give --all: e.g. supertau check my_module:MyEstimator.")
    classes = {name: ESTIMATORS.resolve(name) for name in (ESTIMATORS if every else names or [])}
    results: dict[str, list[Result]] = {}
    for name, cls in classes.items():
        if not (as_json or quiet):
            say(f"{name}: {len(CHECKS)} checks", bold=True)
        results[name] = check_estimator(cls, None if as_json else partial(_show, name=name, quiet=quiet), space=space)
        if not (as_json or quiet):
            say(f"{_count(results[name])}\n")
    if as_json:
        print_json({name: [{**asdict(r), "status": r.status} for r in of_one] for name, of_one in results.items()})
    if not all(result.passed for of_one in results.values() for result in of_one):
        raise typer.Exit(FAILED)


def _show(result: Result, name: str, quiet: bool) -> None:
    """Print one check; when quiet only a failed one, with the estimator's name."""
    if quiet and result.passed:
        return
    say(result.status, end="  ", **STYLES[result.status])
    detail = result.message or (f"({result.skipped_reason})" if result.skipped_reason else "")
    place = f"{name}: {result.name}" if quiet else result.name
    say(f"{place}{': ' if result.message else ' ' if detail else ''}{detail}")
    if not result.passed and not quiet:
        say(f"        why: {_why(result.name)}", dim=True)


def _why(name: str) -> str:
    """Return what a check asks for, from its docstring."""
    # As in `command`: only what has run needs it.
    from supertau.benchmarks.conformance import CHECKS

    return " ".join((CHECKS[name].__doc__ or "").split())


def _count(results: list[Result]) -> str:
    counts = {status: sum(r.status == status for r in results) for status in STYLES}
    return ", ".join(f"{count} {status.lower()}" for status, count in counts.items() if count or status == "passed")
