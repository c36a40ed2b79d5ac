"""Isomorphism of NAS-Bench-201 cells: three string rules of growing strength, and what is alive in a cell.

Every rule writes the function of a node as text; two cells whose output texts are equal compute the same function of
their input (with equal weights on corresponding operations). The two weaker rules merge a part of what is equal; the
strongest merges all that holds for any operations that map zero to zero.
"""

from __future__ import annotations

from functools import cache

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.nasbench201.cells import CONV1, CONV3, EDGES, INPUT, NONE, OPERATIONS, OUTPUT, SKIP

_DEAD = "#"


@cache
def string_rule(architecture: Architecture) -> str:
    """Return the class key of Dong and Yang's rule: 6,466 classes.

    An edge is dead when it is `none` or leaves a node whose text is a single dead mark; `skip_connect` copies the text
    of its source; terms are sorted. A node with two dead edges is written as two marks and no longer counts as dead:
    that is the rule as published with the benchmark, kept for comparability.
    """
    first, second, third = _output_terms(architecture[:3])
    of_input, of_one, of_two = architecture[3:]
    return "+".join(sorted((first[of_input], second[of_one], third[of_two])))


@cache
def _output_terms(inner: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the terms that enter the output: for each of its three edges, the text of each operation.

    inner: the operations on edges 0-1, 0-2 and 1-2, which decide the texts of nodes 1 and 2: 125 cases.
    """
    texts = ["0"]
    for options in (inner[:1], inner[1:]):
        terms = (_term(text, option) for text, option in zip(texts, options, strict=True))
        texts.append("+".join(sorted(terms)))
    return tuple(tuple(_term(text, option) for option in range(len(OPERATIONS))) for text in texts)


def _term(text: str, option: int) -> str:
    """Return the text of an edge: an operation on the text of its source."""
    if option == NONE or text == _DEAD:
        return _DEAD
    return text if option == SKIP else f"({text})@{OPERATIONS[option]}"


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
    """Return the edges on a path from the input to the output that contains no `none`."""
    return _live(_present(architecture))


@cache
def used_edges(architecture: Architecture) -> tuple[int, ...]:
    """Return the edges that are not `none` and whose target leads to the output, in order of computation."""
    return _used(_present(architecture))


# Both depend only on which edges are `none`: 64 cases.


def _present(architecture: Architecture) -> tuple[bool, ...]:
    """Return whether each edge is something else than `none`, which is operation 0."""
    return tuple(map(bool, architecture))


@cache
def _live(present: tuple[bool, ...]) -> tuple[int, ...]:
    reached = {INPUT}
    for edge, (source, target) in enumerate(EDGES):
        if present[edge] and source in reached:
            reached.add(target)
    return tuple(edge for edge in _used(present) if EDGES[edge][0] in reached)


@cache
def _used(present: tuple[bool, ...]) -> tuple[int, ...]:
    leads = {OUTPUT}
    for edge in reversed(range(len(EDGES))):
        source, target = EDGES[edge]
        if present[edge] and target in leads:
            leads.add(source)
    return tuple(edge for edge, (_, target) in enumerate(EDGES) if present[edge] and target in leads)


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
