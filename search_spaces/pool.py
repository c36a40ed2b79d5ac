"""The pool: which architectures are ranked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import (
    DataError,
    InvalidArchitecture,
    InvalidArchitectures,
    SupertauError,
    shortened,
    unknown,
)
from supertau.search_spaces.files import is_file
from supertau.search_spaces.listing import Listed, read_listing
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
    uniformly from those of the space that `accept` takes. A file: see `read_listing`; its architectures are in any form
    that the space reads. Raises InvalidArchitecture naming the first lines that are no architectures of the space.
    """
    kind, colon, count = specification.partition(":")
    if kind not in (*KINDS, RANDOM):
        path = Path(specification)
        if is_file(path):
            return _read(space, path)
        if path.suffix or "/" in specification or "\\" in specification:
            raise DataError(f"pool file '{shortened(specification)}' does not exist.")
        raise unknown("pool", specification, [*KINDS, *(f"{k}:COUNT" for k in (*KINDS, RANDOM))])
    if (colon or kind == RANDOM) and not (count.isdecimal() and len(count) < 10 and int(count) >= 2):
        raise SupertauError(f"pool '{shortened(specification)}': expected {kind}:COUNT with a count of at least 2.")
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
    return Pool(kind, architectures)  # a count that is not reached is not what the pool is


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


def _read(space: SearchSpace, path: Path) -> Pool:
    listed = read_listing(path)
    try:
        architectures = space.read([entry.value for entry in listed])
    except InvalidArchitectures as error:
        message = error.message(f"pool file '{path}'", lambda row: listed[row].place)
        raise InvalidArchitecture(message) from error
    rows: dict[Architecture, Listed] = {}
    for architecture, entry in zip(architectures, listed, strict=True):
        first = rows.setdefault(architecture, entry)
        if first is not entry:
            places = f"{'entries' if entry.kind == 'entry' else f'{entry.kind}s'} {first.number} and {entry.number}"
            raise DataError(f"pool file '{path}': {places} hold the same architecture.")
    if len(rows) < 2:
        raise DataError(f"pool file '{path}' holds {len(rows)} architectures; a ranking needs at least 2.")
    digest = hashlib.sha256("\n".join(space.format(a) for a in rows).encode()).hexdigest()[:8]
    return Pool(f"{path.name}@{digest}", tuple(rows))
