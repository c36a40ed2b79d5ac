"""The cell of NAS-Bench-201: its operations and edges, its text form, and the benchmark's order of all 15,625 cells."""

from __future__ import annotations

import itertools
import random
from functools import cache, lru_cache

from supertau.search_spaces.architecture import Architecture

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV1, CONV3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Source and target node of each edge, in the order of the benchmark's text form."""
INPUT, OUTPUT = 0, 3


@lru_cache(maxsize=1)
def official_order() -> tuple[Architecture, ...]:
    """Return all 15,625 cells in the order of the benchmark's own index.

    The benchmark lists the cells with the last edge varying fastest and shuffles that list once with Python's generator
    seeded by 88; checked in the tests against the index shipped with NATS-Bench.
    """
    cells = list(itertools.product(range(len(OPERATIONS)), repeat=len(EDGES)))
    random.Random(88).shuffle(cells)
    return tuple(cells)


@cache
def _texts() -> tuple[dict[tuple[int, ...], str], ...]:
    """Return, for nodes 1 to 3, the text of each choice of operations on the edges that enter it: 5, 25 and 125."""
    return tuple(
        {
            options: "|" + "|".join(f"{OPERATIONS[option]}~{source}" for source, option in enumerate(options)) + "|"
            for options in itertools.product(range(len(OPERATIONS)), repeat=node)
        }
        for node in (1, 2, 3)
    )


@cache
def _options() -> tuple[dict[str, tuple[int, ...]], ...]:
    """Return the choice of operations of each text, for nodes 1 to 3."""
    return tuple({text: options for options, text in of_node.items()} for of_node in _texts())


def to_text(architecture: Architecture) -> str:
    """Return ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`` of a valid architecture."""
    first, second, third = _texts()
    return f"{first[architecture[:1]]}+{second[architecture[1:3]]}+{third[architecture[3:]]}"


def from_text(text: str) -> Architecture | None:
    """Return the architecture of a text form, None for any other text."""
    first, second, third = _options()
    try:
        one, two, three = text.split("+")
        return first[one] + second[two] + third[three]
    except (KeyError, ValueError):
        return None
