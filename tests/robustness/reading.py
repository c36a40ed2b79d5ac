"""What must hold of whatever reads a damaged file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from supertau.search_spaces.errors import SupertauError

from .command_line import supertau

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """One file to be damaged. other: one of its kind. problems: says afterwards what is not as it should be."""

    folder: Path
    path: Path
    other: Path
    problems: Callable[[], list[str]]


def attempt(function: Callable[[], T]) -> tuple[T | None, str, list[str]]:
    """Return the result, or the message of a SupertauError, and as a problem any other exception."""
    try:
        return function(), "", []
    except SupertauError as error:
        return None, str(error), [] if str(error) else ["an error without a message"]
    except Exception as error:
        return None, "", [f"{type(error).__name__}: {str(error)[:200]}"]


def differing(folder: Path, expected: Path, names: tuple[str, ...]) -> list[str]:
    """Return which files of two runs differ."""
    return [
        f"{name} has other bytes in the end"
        for name in names
        if not (folder / name).is_file() or (folder / name).read_bytes() != (expected / name).read_bytes()
    ]


def report_of(folder: Path) -> tuple[list[str], list[str]]:
    """Return the problems of a report, and the lines of numbers in it."""
    answer = supertau("report", "--results", "results", "--to", "report", "--no-figures", folder=folder)
    problems = answer.problems() or ([f"report: {answer.errors.strip()}"] if answer.status else [])
    return problems, [] if problems else (folder / "report" / "runs.csv").read_text().splitlines()
