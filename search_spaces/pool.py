"""The pool: which architectures are ranked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_spaces.errors import DataError, InvalidArchitecture, SupertauError, unknown
from search_spaces.space import Architecture, SearchSpace

KINDS = ("all", "unique", "connected")
POOL_SEED = 0
"""Seed of the samples: the same specification names the same pool in every run."""


@dataclass(frozen=True)
class Pool:
    """Architectures in a fixed order. name: the specification, with a digest of the content when it is a file."""

    name: str
    architectures: tuple[Architecture, ...]

    def __len__(self) -> int:
        return len(self.architectures)


def select(space: SearchSpace, specification: str) -> Pool:
    """Return a pool: 'all', 'unique', 'connected', one of them with ':COUNT' for a seeded sample, or a file.

    unique holds one representative per isomorphism class, connected the architectures whose output depends on their
    input. A file holds one architecture per line in the space's text form (further CSV columns are ignored).
    """
    kind, sampled, count = specification.partition(":")
    if kind not in KINDS:
        path = Path(specification)
        if path.is_file():
            return _read(space, path)
        if path.suffix or "/" in specification:
            raise DataError(f"pool file '{specification}' does not exist.")
        raise unknown("pool", specification, [*KINDS, *(f"{k}:COUNT" for k in KINDS)])
    members: Iterable[Architecture] = space.unique() if kind == "unique" else space.enumerate()
    if kind == "connected":
        members = (a for a in members if space.is_connected(a))
    held = tuple(members)
    if sampled:
        held = _sample(held, count, specification)
    return Pool(specification, held)


def _sample(members: tuple[Architecture, ...], count: str, specification: str) -> tuple[Architecture, ...]:
    if not count.isdecimal() or not 2 <= int(count) <= len(members):
        raise SupertauError(f"pool '{specification}': the count must be between 2 and {len(members)}.")
    rows = np.sort(np.random.default_rng(POOL_SEED).choice(len(members), int(count), replace=False))
    return tuple(members[row] for row in rows)


def _read(space: SearchSpace, path: Path) -> Pool:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"pool file '{path}' cannot be read as text: {error}.") from error
    rows: dict[Architecture, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.split(",")[0].strip().strip('"')
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
