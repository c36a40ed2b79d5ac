"""The pool: which architectures are ranked."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import DataError, InvalidArchitecture, SupertauError, unknown
from supertau.search_spaces.space import SearchSpace

KINDS = ("all", "unique", "connected")
RANDOM = "random"
POOL_SEED = 0
"""Seed of the samples: a specification is the same pool in every run."""
MISSES = 10_000
"""After so many draws in a row without anything new a space counts as exhausted."""


@dataclass(frozen=True)
class Pool:
    """Architectures in a fixed order. name: the specification, with a digest of the content when it is a file."""

    name: str
    architectures: tuple[Architecture, ...]

    def __len__(self) -> int:
        return len(self.architectures)


def select(
    space: SearchSpace,
    specification: str,
    known: Sequence[Architecture] = (),
    *,
    accept: Callable[[Architecture], bool] = lambda architecture: True,
) -> Pool:
    """Return a pool: 'all', 'unique', 'connected', 'random:COUNT', or a file.

    unique: one representative per isomorphism class; connected: the architectures whose output depends on their input;
    of a space too large to be listed, 'all' is `known`, the architectures with ground truth. ':COUNT' behind any of the
    three takes a seeded sample, or everything where there is less. random: as many classes of architectures, drawn
    uniformly from those of the space that `accept` takes. A file has one architecture per line in the space's text form
    (further CSV columns are ignored).
    """
    kind, colon, count = specification.partition(":")
    if kind not in (*KINDS, RANDOM):
        path = Path(specification)
        if path.is_file():
            return _read(space, path)
        if path.suffix or "/" in specification:
            raise DataError(f"pool file '{specification}' does not exist.")
        raise unknown("pool", specification, [*KINDS, *(f"{k}:COUNT" for k in (*KINDS, RANDOM))])
    if (colon or kind == RANDOM) and not (count.isdecimal() and int(count) >= 2):
        raise SupertauError(f"pool '{specification}': expected {kind}:COUNT with a count of at least 2.")
    if kind == RANDOM:
        return Pool(specification, draw(space, np.random.default_rng(POOL_SEED), int(count), accept=accept))
    members: Iterable[Architecture] = known if known and not space.is_listable else space.enumerate()
    if kind == "unique":
        members = space.unique(members)
    elif kind == "connected":
        members = (a for a in members if space.is_connected(a))
    architectures = tuple(members)
    if colon and int(count) < len(architectures):
        rows = np.sort(np.random.default_rng(POOL_SEED).choice(len(architectures), int(count), replace=False))
        architectures = tuple(architectures[row] for row in rows)
    return Pool(specification, architectures)


def draw(
    space: SearchSpace,
    rng: np.random.Generator,
    count: int,
    seen: Set[str] = frozenset(),
    *,
    accept: Callable[[Architecture], bool] = lambda architecture: True,
) -> tuple[Architecture, ...]:
    """Return uniform draws whose canonical keys differ and are not in `seen`; raise SupertauError when none is left.

    accept: whether a draw counts at all.
    """
    by_key: dict[str, Architecture] = {}
    misses = 0
    while len(by_key) < count:
        drawn = space.sample(rng)
        key = space.canonical(drawn)
        misses = misses + 1 if key in seen or key in by_key or not accept(drawn) else 0
        if not misses:
            by_key[key] = drawn
        elif misses == MISSES:
            raise SupertauError(
                f"{space.name} gave {len(by_key)} of {count} new architectures wanted, then {MISSES:,} draws in a row "
                "were known ones. Ask for fewer."
            )
    return tuple(by_key.values())


def _first_value(line: str) -> str:
    """Return the architecture of a line: the first value where it is quoted, or where the line has no brackets."""
    line = line.strip()
    # A genotype has commas of its own; where it is a value among others, a CSV writer quotes it.
    if "(" in line and not line.startswith('"'):
        return line
    return next(csv.reader([line]))[0].strip() if line else ""


def _read(space: SearchSpace, path: Path) -> Pool:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"pool file '{path}' cannot be read as text: {error}.") from error
    rows: dict[Architecture, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = _first_value(line)
        if not entry or entry.startswith("#") or (not rows and entry == "architecture"):
            continue
        try:
            architecture = space.parse(entry)
        except InvalidArchitecture as error:
            raise InvalidArchitecture(f"pool file '{path}', line {number}: {error}") from error
        if architecture in rows:
            raise DataError(f"pool file '{path}': lines {rows[architecture]} and {number} hold the same architecture.")
        rows[architecture] = number
    if len(rows) < 2:
        raise DataError(f"pool file '{path}' holds {len(rows)} architectures; a ranking needs at least 2.")
    digest = hashlib.sha256("\n".join(space.format(a) for a in rows).encode()).hexdigest()[:8]
    return Pool(f"{path.name}@{digest}", tuple(rows))
