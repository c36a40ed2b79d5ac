"""Isomorphism of NAS-Bench-201 cells: three string rules of growing strength, and what is alive in a cell.

Every rule writes the function of a node as text; two cells whose output texts are equal compute the same function of
their input (with equal weights on corresponding operations). The two weaker rules merge a part of what is equal; the
strongest merges all that holds for any operations that map zero to zero.
"""

from __future__ import annotations

from functools import cache

from supertau.search_spaces.space import Architecture

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV1, CONV3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Source and target node of each edge, in the order of the benchmark's text form."""
INPUT, OUTPUT = 0, 3

_DEAD = "#"


def string_rule(architecture: Architecture) -> str:
    """Return the class key of Dong and Yang's rule: 6,466 classes.

    An edge is dead when it is `none` or leaves a node whose text is a single dead mark; `skip_connect` copies the text
    of its source; terms are sorted. A node with two dead edges is written as two marks and no longer counts as dead:
    that is the rule as published with the benchmark, kept for comparability.
    """
    texts = ["0"]
    for node in range(1, 4):
        terms = []
        for edge, (source, target) in enumerate(EDGES):
            if target != node:
                continue
            operation = architecture[edge]
            if operation == NONE or texts[source] == _DEAD:
                terms.append(_DEAD)
            elif operation == SKIP:
                terms.append(texts[source])
            else:
                terms.append(f"({texts[source]})@{OPERATIONS[operation]}")
        texts.append("+".join(sorted(terms)))
    return texts[OUTPUT]


def dead_rule(architecture: Architecture) -> str:
    """Return the class key when dead terms vanish and a node without terms is dead: 5,390 classes."""
    return _propagated(architecture, flatten=False)


def flat_rule(architecture: Architecture) -> str:
    """Return the class key when, besides, a skipped sum is merged into the sum it feeds: 4,930 classes."""
    return _propagated(architecture, flatten=True)


def _propagated(architecture: Architecture, *, flatten: bool) -> str:
    nodes: list[list[str]] = [["0"]]
    for node in range(1, 4):
        terms: list[str] = []
        for edge, (source, target) in enumerate(EDGES):
            operation = architecture[edge]
            if target != node or operation == NONE or not nodes[source]:
                continue
            text = "+".join(nodes[source])
            if operation == SKIP:
                terms.extend(nodes[source] if flatten else [text])
            else:
                terms.append(f"({text})@{OPERATIONS[operation]}")
        nodes.append(sorted(terms))
    return "+".join(nodes[OUTPUT]) or _DEAD


@cache
def live_edges(architecture: Architecture) -> tuple[int, ...]:
    """Return the edges on a path from the input to the output that holds no `none`."""
    reached = {INPUT}
    for edge, (source, target) in enumerate(EDGES):
        if architecture[edge] != NONE and source in reached:
            reached.add(target)
    return tuple(edge for edge in used_edges(architecture) if EDGES[edge][0] in reached)


@cache
def used_edges(architecture: Architecture) -> tuple[int, ...]:
    """Return the edges that are not `none` and whose target leads to the output, in order of computation."""
    leads = {OUTPUT}
    for edge in reversed(range(len(EDGES))):
        source, target = EDGES[edge]
        if architecture[edge] != NONE and target in leads:
            leads.add(source)
    return tuple(e for e, (_, target) in enumerate(EDGES) if architecture[e] != NONE and target in leads)


def reduced(architecture: Architecture) -> Architecture:
    """Return a cell with `none` for operations whose result leads nowhere: 12,205 of the 15,625 cells."""
    used = used_edges(architecture)
    return tuple(operation if edge in used else NONE for edge, operation in enumerate(architecture))


def is_connected(architecture: Architecture) -> bool:
    """Return whether the output depends on the input: false for 341 cells."""
    return bool(live_edges(architecture))


def has_live_convolution(architecture: Architecture) -> bool:
    """Return whether a convolution lies on a path from input to output: true for 6,321 of the 6,466 representatives."""
    return any(architecture[edge] in (CONV1, CONV3) for edge in live_edges(architecture))
