"""DARTS cells as integers, and written as text.

An architecture is a normal cell and a reduction cell. A cell has two inputs, numbered 0 (the output of the cell before
the previous one) and 1 (of the previous one), and four nodes, 2 to 5; each node is the sum of two operations on two
different predecessors, and the output is the concatenation of the four nodes. A node takes three integers: the pair of
predecessors, by its number in lexicographic order, the operation on the lower one, the operation on the higher one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

from supertau.search_spaces.architecture import Architecture

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""In the order of nasbench301."""
MAX_POOL, AVG_POOL, SKIP, SEP3, SEP5, DIL3, DIL5 = range(7)
KINDS = ("normal", "reduce")
NORMAL, REDUCE = range(2)
INPUTS, NODES = 2, 4
PAIRS = tuple(tuple(itertools.combinations(range(INPUTS + node), 2)) for node in range(NODES))
"""Pairs of predecessors that each node may have: 1, 3, 6 and 10."""
CHOICES = tuple(n for pairs in PAIRS for n in (len(pairs), len(OPERATIONS), len(OPERATIONS))) * len(KINDS)

Entry = tuple[int, int]
"""Predecessor and operation."""
Node = tuple[Entry, Entry]
"""The lower predecessor first."""
Cell = tuple[Node, ...]

OUTPUT = tuple(range(INPUTS, INPUTS + NODES))
"""Nodes that make up the output of a cell: all."""


# --- integers -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2**14)
def decoded(architecture: Architecture) -> tuple[Cell, ...]:
    """Return the normal and the reduction cell of a valid encoding."""
    nodes = [
        ((PAIRS[number % NODES][pair][0], low), (PAIRS[number % NODES][pair][1], high))
        for number, (pair, low, high) in enumerate(zip(*[iter(architecture)] * 3, strict=True))
    ]
    return tuple(nodes[:NODES]), tuple(nodes[NODES:])


def encoded(cells: Sequence[Cell]) -> Architecture:
    """Return the encoding of a normal and a reduction cell."""
    architecture: list[int] = []
    for cell in cells:
        for pairs, ((lower, low), (higher, high)) in zip(PAIRS, cell, strict=True):
            architecture += pairs.index((lower, higher)), low, high
    return tuple(architecture)


# --- to text --------------------------------------------------------------------------------------------------------


def to_genotype(architecture: Architecture) -> str:
    """Return ``Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], ...)``, as nasbench301 does."""
    parts = []
    for kind, cell in zip(KINDS, decoded(architecture), strict=True):
        entries = [(OPERATIONS[option], source) for node in cell for source, option in node]
        parts.append(f"{kind}={entries}, {kind}_concat={list(OUTPUT)}")
    return f"Genotype({', '.join(parts)})"


def to_compact(architecture: Architecture) -> str:
    """Return NASLib's compact form: per cell eight pairs (predecessor, operation number)."""
    return str(tuple(tuple(entry for node in cell for entry in node) for cell in decoded(architecture)))


def to_aw_nas(architecture: Architecture) -> str:
    """Return aw_nas's form: ``normal_0=[('skip_connect', 0, 2), ...],normal_0_concat=(2, 3, 4, 5),reduce_1=...``."""
    parts = []
    for number, (kind, cell) in enumerate(zip(KINDS, decoded(architecture), strict=True)):
        entries = [
            (OPERATIONS[option], source, target)
            for target, node in enumerate(cell, start=INPUTS)
            for source, option in node
        ]
        parts.append(f"{kind}_{number}={entries},{kind}_{number}_concat={OUTPUT}")
    return ",".join(parts)
