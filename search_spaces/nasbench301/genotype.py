"""DARTS cells as integers and as text.

An architecture is a normal cell and a reduction cell. A cell has two inputs, numbered 0 (the output of the cell before
the previous one) and 1 (of the previous one), and four nodes, 2 to 5; each node is the sum of two operations on two
different predecessors, and the output is the concatenation of the four nodes. A node takes three integers: the pair of
predecessors, by its number in lexicographic order, the operation on the lower one, the operation on the higher one.
"""

from __future__ import annotations

import ast
import itertools
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import InvalidArchitecture, nearest

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

_OUTPUT = tuple(range(INPUTS, INPUTS + NODES))
_NAME = "nasbench301"
_LONGEST = 10_000  # characters; the text forms have less than 1,000
_EXAMPLE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_3x3', 2), ('skip_connect', 0)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)


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
        parts.append(f"{kind}={entries}, {kind}_concat={list(_OUTPUT)}")
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
        parts.append(f"{kind}_{number}={entries},{kind}_{number}_concat={_OUTPUT}")
    return ",".join(parts)


# --- from text ------------------------------------------------------------------------------------------------------


def parse(text: str) -> Architecture:
    """Return the architecture of any of the three forms; raise InvalidArchitecture saying what is wrong with it.

    The two entries of a node may come in either order.
    """
    tree = _tree(text)
    if isinstance(tree, ast.Tuple):
        return encoded([_compact_cell(kind, entries) for kind, entries in zip(KINDS, _compact(tree), strict=True)])
    fields = _fields(tree)
    if list(fields) == [name for kind in KINDS for name in (kind, f"{kind}_concat")]:
        cells = [_genotype_cell(kind, fields[kind]) for kind in KINDS]
    elif list(fields) == ["normal_0", "normal_0_concat", "reduce_1", "reduce_1_concat"]:
        cells = [_aw_nas_cell(kind, fields[f"{kind}_{number}"]) for number, kind in enumerate(KINDS)]
    else:
        _unreadable(text)
    for name, value in fields.items():
        if name.endswith("_concat") and (not isinstance(value, list | tuple) or tuple(value) != _OUTPUT):
            raise InvalidArchitecture(
                f"{_NAME}: {name} is {value}; all four nodes make up the output, expected {list(_OUTPUT)}."
            )
    return encoded(cells)


def _unreadable(text: str) -> NoReturn:
    shown = text if len(text) <= 1000 else f"{text[:1000]}..."
    raise InvalidArchitecture(f"{_NAME}: cannot read '{shown}'; expected a form like {_EXAMPLE}")


def _tree(text: str) -> ast.Tuple | ast.Call:
    """Return the syntax tree of a text, which nothing evaluates: a tuple, or a call whose arguments are all named."""
    stripped = text.strip()
    # The form of aw_nas is the inside of a call.
    source = f"aw_nas({stripped})" if stripped.startswith("normal_0") else stripped
    try:
        if len(source) > _LONGEST:
            _unreadable(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python about strange text
            tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        _unreadable(text)
    if isinstance(tree, ast.Tuple):
        return tree
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args:
        name = "aw_nas" if source != stripped else "Genotype"
        if tree.func.id == name and all(keyword.arg for keyword in tree.keywords):
            return tree
    _unreadable(text)


def _fields(call: ast.Call) -> dict[str, Any]:
    """Return the arguments of a call, ``range(a, b)`` as a list."""
    fields = {}
    for keyword in call.keywords:
        value = keyword.value
        if isinstance(value, ast.Call) and ast.unparse(value) == f"range({_OUTPUT[0]}, {_OUTPUT[-1] + 1})":
            fields[str(keyword.arg)] = list(_OUTPUT)
        else:
            fields[str(keyword.arg)] = _literal(value, str(keyword.arg))
    return fields


def _literal(node: ast.expr, name: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise InvalidArchitecture(
            f"{_NAME}: {name} is not written in plain numbers and texts; expected a form like {_EXAMPLE}"
        ) from None


def _compact(tree: ast.Tuple) -> tuple[Any, ...]:
    cells = _literal(tree, "the compact form")
    if len(cells) != len(KINDS):
        raise InvalidArchitecture(
            f"{_NAME}: the compact form has two cells, each of eight pairs (predecessor, operation number), "
            f"got {len(cells)}; the usual form is {_EXAMPLE}"
        )
    return tuple(cells)


def _entries(kind: str, value: Any, example: tuple[int | str, ...], meaning: str) -> list[tuple[Any, ...]]:
    """Check the shape of a cell's entries: eight of the types of an example."""
    count = 2 * NODES
    entries = list(value) if isinstance(value, list | tuple) else []
    if not isinstance(value, list | tuple) or len(entries) != count:
        got = len(entries) if isinstance(value, list | tuple) else repr(value)
        raise InvalidArchitecture(f"{_NAME}: a {kind} cell has {count} entries {meaning}, two per node, got {got}.")
    types = [type(part) for part in example]
    for entry in entries:
        if not isinstance(entry, list | tuple) or [type(part) for part in entry] != types:
            raise InvalidArchitecture(
                f"{_NAME}: entry {entry!r} of the {kind} cell; expected {meaning}, such as {example}."
            )
    return [tuple(entry) for entry in entries]


def _genotype_cell(kind: str, value: Any) -> Cell:
    entries = _entries(kind, value, ("sep_conv_3x3", 0), "(operation, predecessor)")
    read = [(source, _option(name)) for name, source in entries]
    return tuple(_node(kind, node, read[2 * node : 2 * node + 2]) for node in range(NODES))


def _aw_nas_cell(kind: str, value: Any) -> Cell:
    entries = _entries(kind, value, ("sep_conv_3x3", 0, 2), "(operation, predecessor, node)")
    nodes: dict[int, list[Entry]] = {target: [] for target in _OUTPUT}
    for name, source, target in entries:
        if target not in nodes:
            raise InvalidArchitecture(f"{_NAME}: the {kind} cell has nodes 2 to 5, got an entry of node {target}.")
        nodes[target].append((source, _option(name)))
    return tuple(_node(kind, target - INPUTS, read) for target, read in nodes.items())


def _compact_cell(kind: str, value: Any) -> Cell:
    entries = _entries(kind, value, (0, SEP3), "(predecessor, operation number)")
    for _, option in entries:
        if not 0 <= option < len(OPERATIONS):
            raise InvalidArchitecture(
                f"{_NAME}: operation number {option} in the {kind} cell, expected 0 to {len(OPERATIONS) - 1}: "
                f"{', '.join(OPERATIONS)}."
            )
    return tuple(_node(kind, node, entries[2 * node : 2 * node + 2]) for node in range(NODES))


def _option(name: str) -> int:
    if name in OPERATIONS:
        return OPERATIONS.index(name)
    if name == "none":
        raise InvalidArchitecture(
            f"{_NAME}: operation 'none' is not in this space, where every node has two inputs; it is in the DARTS "
            f"space of NDS. Known: {', '.join(OPERATIONS)}."
        )
    guess = nearest(name, OPERATIONS)
    hint = f" Did you mean '{guess}'?" if guess else ""
    raise InvalidArchitecture(f"{_NAME}: unknown operation '{name}'.{hint} Known: {', '.join(OPERATIONS)}.")


def _node(kind: str, node: int, entries: Sequence[tuple[Any, ...]]) -> Node:
    target = node + INPUTS
    if len(entries) != 2:
        raise InvalidArchitecture(f"{_NAME}: node {target} of the {kind} cell has {len(entries)} entries, expected 2.")
    (lower, low), (higher, high) = sorted(entries)
    for source in (lower, higher):
        if not 0 <= source < target:
            raise InvalidArchitecture(
                f"{_NAME}: node {target} of the {kind} cell has predecessor {source}, expected 0 to {target - 1}."
            )
    if lower == higher:
        raise InvalidArchitecture(
            f"{_NAME}: node {target} of the {kind} cell has predecessor {lower} twice, expected two different ones."
        )
    return (lower, low), (higher, high)
