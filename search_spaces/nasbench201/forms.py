"""The forms in which people have cells of NAS-Bench-201.

    |nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|       the benchmark's text; blanks around the signs; `identity`
    12759                                                the benchmark's index, 0 to 15,624
    Structure(4 nodes with |nor_conv_3x3~0|+...)         how AutoDL-Projects prints a cell, also CellStructure
    [[('nor_conv_3x3', 0)], [('none', 0), ...], ...]     its nested list, also as JSON
    {'1<-0': 'nor_conv_3x3', '2<-0': 'none', ...}        operations by edge, whichever way an edge is written

Numbers of operations are not read: code bases number operations and edges in different orders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import InvalidArchitecture, nearest, shortened
from supertau.search_spaces.nasbench201.cells import EDGES, OPERATIONS, OUTPUT, from_text, official_order
from supertau.search_spaces.values import literal

_NAME = "nasbench201"
_EXAMPLE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
_ALIASES = {"identity": "skip_connect"}
_LONGEST = 2000
"""Characters; the forms have less than 500."""
_LONGEST_GUESSED = 500

_TERM = re.compile(r"([a-z0-9_]+)~([0-2])")
_ANY_TERM = re.compile(r"([\w.\- ]*\w)\s*~\s*([0-9])|['\"]([\w.\- ]*[a-zA-Z][\w.\- ]*)['\"]\s*,\s*([0-9])", re.ASCII)
_INDEX = re.compile(r"(-?[0-9]{1,9})(?:\.0*)?", re.ASCII)
_PRINTED = re.compile(r"(?:\w+\.)*\w*Structure\((?:[0-9]+ nodes with )?(.*)\)", re.ASCII | re.DOTALL)
_SIGN = re.compile(r"\s*([|+~])\s*")


def parse(text: str) -> Architecture:
    """Return the cell of any of the forms; raise InvalidArchitecture saying what is wrong, or which form it is."""
    architecture = from_text(text)
    return _other(text) if architecture is None else architecture


def _other(text: str) -> Architecture:
    inner = text.strip()
    if len(inner) > _LONGEST:
        _unreadable(text)
    printed = _PRINTED.fullmatch(inner)
    if printed:
        inner = printed[1].strip()
    if inner[:1] in ("'", '"') and inner[-1:] == inner[:1]:
        inner = inner[1:-1]
    index = _INDEX.fullmatch(inner)
    if index:
        return _of_index(index[1])
    if inner[:1] in ("[", "(", "{"):
        try:
            value = literal(inner)
        except ValueError:
            _unreadable(text)
        return _of_object(text, value)
    return _of_text(text, _SIGN.sub(r"\1", inner))


def _unreadable(text: str, why: str = "") -> NoReturn:
    shown = shortened(text)
    raise InvalidArchitecture(f"{_NAME}: cannot read '{shown}'{why and ': '}{why}; expected a form like {_EXAMPLE}")


def _of_index(digits: str) -> Architecture:
    if re.fullmatch("[0-4]{6}", digits):
        _unreadable(digits, "six digits seem to be numbers of operations, which are not the same everywhere")
    if digits.startswith("-") or (digits.startswith("0") and len(digits) > 1) or int(digits) >= len(official_order()):
        raise InvalidArchitecture(f"{_NAME}: index {digits}, expected 0 to {len(official_order()) - 1:,}.")
    return official_order()[int(digits)]


# --- the text form --------------------------------------------------------------------------------------------------


def _of_text(text: str, tidy: str) -> Architecture:
    """Return the architecture of a text without blanks around its signs."""
    architecture = from_text(tidy)
    if architecture is not None:
        return architecture
    nodes = tidy.split("+")
    options: list[int] = []
    for node, part in enumerate(nodes, start=1):
        inner = part[1:-1] if len(part) > 1 and part[0] == part[-1] == "|" else ""
        terms = [_TERM.fullmatch(term) for term in inner.split("|")]
        if len(nodes) != OUTPUT or [int(term[2]) for term in terms if term] != list(range(node)) or None in terms:
            _unreadable(text)
        options += (_option(term[1], text) for term in terms if term)
    return tuple(options)


def _option(name: str, text: str) -> int:
    name = _ALIASES.get(name, name)
    if name not in OPERATIONS:
        guess = _similar(name)
        hint = f" Did you mean '{guess}'?" if guess else ""
        raise InvalidArchitecture(
            f"{_NAME}: unknown operation '{shortened(name)}' in '{shortened(text)}'.{hint} Known: "
            f"{', '.join(OPERATIONS)}."
        )
    return OPERATIONS.index(name)


@lru_cache(maxsize=1000)
def _similar(name: str) -> str | None:
    return nearest(name, OPERATIONS)


# --- lists and dictionaries -----------------------------------------------------------------------------------------


def _of_object(text: str, value: Any) -> Architecture:
    if isinstance(value, dict):
        return _of_edges(text, value)
    if not isinstance(value, list | tuple):
        _unreadable(text)
    if len(value) == len(EDGES) and all(isinstance(part, int) for part in value):
        _unreadable(text, "six numbers of operations, which are not the same everywhere; use the names, by edge")
    if len(value) == len(EDGES) and all(isinstance(part, str) for part in value):
        _unreadable(text, "six operations without their edges, whose order is not the same everywhere")
    if len(value) != OUTPUT:
        _unreadable(text, f"a list of {len(value)}; a nested list has one part for each of the {OUTPUT} nodes")
    edges: dict[tuple[int, int], int] = {}
    for node, entering in enumerate(value, start=1):
        # Of one operation, ((name, 0)) is what is left of ((name, 0),).
        entries = [entering] if _is_entry(entering) else entering
        if not isinstance(entries, list | tuple) or not all(map(_is_entry, entries)):
            _unreadable(text, f"node {node} of a nested list has pairs of operation and predecessor")
        if sorted(source for _, source in entries) != list(range(node)):
            _unreadable(text, f"node {node} has one operation from each of the {node} nodes before it")
        edges |= {(source, node): _option(name, text) for name, source in entries}
    return tuple(edges[edge] for edge in EDGES)


def _is_entry(value: Any) -> bool:
    return isinstance(value, list | tuple) and [type(part) for part in value] == [str, int]


def _of_edges(text: str, value: dict[Any, Any]) -> Architecture:
    """Return the cell of operations by edge: a key has the numbers of two nodes, the first of all being 0 or 1."""
    if not all(isinstance(name, str) for name in value.values()):
        _unreadable(text, "a dictionary has the name of an operation for each edge")
    numbered = [sorted(map(int, re.findall("[0-9]{1,3}", str(key), re.ASCII))) for key in value]
    lowest = min((ends[0] for ends in numbered if ends), default=0)
    edges = [tuple(end - lowest for end in ends) for ends in numbered]
    if lowest > 1 or sorted(edges) != sorted(EDGES):
        _unreadable(text, f"a dictionary has {len(EDGES)} edges between the nodes 0 to {OUTPUT}, such as '1<-0'")
    options = {edge: _option(name, text) for edge, name in zip(edges, value.values(), strict=True)}
    return tuple(options[edge] for edge in EDGES)


# --- the nearest ----------------------------------------------------------------------------------------------------


def nearest_cell(text: str) -> Architecture | None:
    """Return the cell of a text in which names of operations are misspelt; None where it has not six of them.

    Only the operations are compared, with the five known ones, so it takes no longer than reading.
    """
    if len(text) > _LONGEST_GUESSED:
        return None
    terms = [(a or b, int(c or d)) for a, c, b, d in _ANY_TERM.findall(text)]
    if len(terms) != len(EDGES):
        return None
    names = [_similar(_ALIASES.get(name.strip(), name.strip())) for name, _ in terms]
    if None in names:
        return None
    options = [OPERATIONS.index(name) for name in names if name]
    return tuple(_sorted_by_source(options, [source for _, source in terms]))


def _sorted_by_source(options: Sequence[int], sources: Sequence[int]) -> list[int]:
    """Return the operations of nodes 1 to 3, each node's in the order of its sources where those are all there."""
    ordered: list[int] = []
    for node in range(1, OUTPUT + 1):
        here = slice(len(ordered), len(ordered) + node)
        by_source = dict(zip(sources[here], options[here], strict=True))
        complete = sorted(by_source) == list(range(node))
        ordered += [by_source[source] for source in range(node)] if complete else options[here]
    return ordered
