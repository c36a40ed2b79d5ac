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
"""Seed of the samples: the same specification names the same pool in every run."""
MISSES = 10_000
"""Draws in a row that find nothing new, after which a space counts as exhausted."""


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

    unique holds one representative per isomorphism class, connected the architectures whose output depends on their
    input; of a space too large to be listed, 'all' is `known`, the architectures with ground truth. ':COUNT' behind any
    of the three takes a seeded sample, everything where there is less. random: so many classes of a uniform draw from
    the space, of architectures that `accept` takes. A file holds one architecture per line in the space's text form
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
    held = tuple(members)
    if colon and int(count) < len(held):
        rows = np.sort(np.random.default_rng(POOL_SEED).choice(len(held), int(count), replace=False))
        held = tuple(held[row] for row in rows)
    return Pool(specification, held)


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
    found: dict[str, Architecture] = {}
    misses = 0
    while len(found) < count:
        drawn = space.sample(rng)
        key = space.canonical(drawn)
        misses = misses + 1 if key in seen or key in found or not accept(drawn) else 0
        if not misses:
            found[key] = drawn
        elif misses == MISSES:
            raise SupertauError(
                f"{space.name} gave {len(found)} of {count} new architectures wanted, then {MISSES:,} draws in a row "
                "were known ones. Ask for fewer."
            )
    return tuple(found.values())


def _first_cell(line: str) -> str:
    """Return the architecture of a line: its first cell where that is quoted or the only one without brackets."""
    line = line.strip()
    # A genotype has commas of its own; where it is a cell among others, a CSV writer quotes it.
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
        entry = _first_cell(line)
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
