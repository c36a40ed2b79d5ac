"""Errors a user can act on: what was wrong, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping

SHOWN = 200
"""Characters of a user's text that a message shows at most."""
NAMED = 5
"""How many offending rows a message names."""
_LONGEST_NAME = 100


class SupertauError(Exception):
    """Base of every error the suite raises on purpose; the command line prints its message without a traceback."""


class UnknownName(SupertauError):
    """A name that is not registered. The message names the nearest match and everything that is available."""


class DataError(SupertauError):
    """A file that is missing, unreadable, truncated, or not what its checksum says."""


class InvalidArchitecture(SupertauError):
    """An architecture that is not in the space, in text or encoded form."""


class InvalidArchitectures(InvalidArchitecture):
    """Values of a file or column that are not architectures of the space.

    rows: position of each offending value, from 0, to what is wrong with it. total: how many values there were.
    """

    def __init__(self, rows: Mapping[int, str], total: int) -> None:
        self.rows, self.total = dict(rows), total
        super().__init__(self.message("", lambda row: f"value {row + 1}"))

    def __reduce__(self) -> tuple[type[InvalidArchitectures], tuple[dict[int, str], int]]:
        return type(self), (self.rows, self.total)

    def message(self, file: str, place: Callable[[int], str]) -> str:
        """Return a message that names the first rows; file: what holds them, or empty; place: what to call a row."""
        named = [f"{place(row)}: {reason}" for row, reason in list(self.rows.items())[:NAMED]]
        if len(self.rows) == 1:
            return f"{file}, {named[0]}" if file else named[0]
        more = f"\n  and {len(self.rows) - NAMED:,} more" if len(self.rows) > NAMED else ""
        listed = "\n  ".join(named)
        counted = f"{len(self.rows):,} of {self.total:,} architectures cannot be read"
        return f"{file + ': ' if file else ''}{counted}:\n  {listed}{more}"


def nearest(name: str, available: Iterable[str]) -> str | None:
    """Return the most similar available name, or None when nothing is close or the name is too long for one."""
    if len(name) > _LONGEST_NAME:
        return None
    lowered = {candidate.lower(): candidate for candidate in available}
    matches = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    return lowered[matches[0]] if matches else None


def shortened(text: str, limit: int = SHOWN) -> str:
    """Return a text as messages show it: of a long one the beginning and the length."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def reason(error: Exception) -> str:
    """Return what an error says; of one of the system without the path, whose backslashes it would double."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def unknown(kind: str, name: str, available: Iterable[str]) -> UnknownName:
    """Build the error for an unknown name: kind is a noun such as 'estimator'."""
    names = sorted(available)
    guess = nearest(name, names)
    hint = f" Did you mean '{guess}'?" if guess else ""
    return UnknownName(f"unknown {kind} '{shortened(name)}'.{hint} Available: {', '.join(names) or 'none'}.")
