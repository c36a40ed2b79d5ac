"""Errors a user can act on: what was wrong, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SupertauError(Exception):
    """Base of every error the suite raises on purpose; the command line prints its message without a traceback."""


class UnknownName(SupertauError):
    """A name that is not registered. The message names the nearest match and everything that is available."""


class DataError(SupertauError):
    """A file that is missing, unreadable, truncated, or not what its checksum says."""


class InvalidArchitecture(SupertauError):
    """An architecture that is not in the space, in text or encoded form."""


def nearest(name: str, available: Iterable[str]) -> str | None:
    """Return the most similar available name, or None when nothing is close."""
    lowered = {candidate.lower(): candidate for candidate in available}
    matches = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    return lowered[matches[0]] if matches else None


def unknown(kind: str, name: str, available: Iterable[str]) -> UnknownName:
    """Build the error for an unknown name: kind is a noun such as 'estimator'."""
    names = sorted(available)
    guess = nearest(name, names)
    hint = f" Did you mean '{guess}'?" if guess else ""
    return UnknownName(f"unknown {kind} '{name}'.{hint} Available: {', '.join(names) or 'none'}.")
