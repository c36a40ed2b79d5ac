"""The forms in which people have DARTS cells.

    Genotype(normal=[('sep_conv_3x3', 0), ...], ...)     of nasbench301 and DARTS, also NAME = genotypes.Genotype(...)
    {"normal": [["sep_conv_3x3", 0], ...], ...}          the same as a dictionary, also as JSON
    (((0, 3), (1, 3), ...), (...))                       compact, of NASLib: predecessor, operation number; also JSON
    normal_0=[('sep_conv_3x3', 0, 2), ...],reduce_1=...  of aw_nas
    {'...:edge_normal_0': 'sep_conv_3x3', ...}           a ConfigSpace configuration of nasbench301, other keys ignored

The two entries of a node may come in either order. Operations are numbered as in nasbench301; DARTS' own code has
'none' in front of them, which makes every number one higher.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import InvalidArchitecture, nearest, shortened
from supertau.search_spaces.nasbench301.features import edge_name, inputs_name
from supertau.search_spaces.nasbench301.genotype import (
    INPUTS,
    KINDS,
    NODES,
    OPERATIONS,
    OUTPUT,
    PAIRS,
    SEP3,
    Cell,
    Entry,
    Node,
    encoded,
)
from supertau.search_spaces.values import literal

_NAME = "nasbench301"
_SHOWN = 1000
"""Characters of a text that a message shows: a whole genotype."""
_LONGEST = 10_000
"""Characters; a whole configuration has 4,000, the other forms less than 1,000."""
_EXAMPLE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_3x3', 2), ('skip_connect', 0)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)
_NUMBERS = {name: number for number, name in enumerate(OPERATIONS)}
_AW_NAS = {f"{kind}_{number}": kind for number, kind in enumerate(KINDS)}
_ASSIGNED = re.compile(r"\A\w+\s*=\s*(?=[\w.]+\()", re.ASCII)
_FUNCTION = re.compile(r"(?:\w+\.)*(?:Genotype|Configuration)(?=\()", re.ASCII)
_CONFIGURED = re.compile(r"(?:.*:)?(?:edge|inputs_node)_(?:normal|reduce)_[0-9]+", re.ASCII)


def parse(text: str, *, first: int = 0) -> Architecture:
    """Return the architecture of any of the forms; raise InvalidArchitecture saying what is wrong with it.

    first: number of the first operation in the compact form, 1 where 'none' is number 0.
    """
    value = _value(text)
    if isinstance(value, list | tuple):
        return encoded([_compact_cell(kind, cell, first) for kind, cell in zip(KINDS, _compact(value), strict=True)])
    if any(_CONFIGURED.fullmatch(str(key)) for key in value):
        return _configured(value)
    fields = dict(value)
    concats = {name: fields.pop(name) for name in list(fields) if str(name).endswith("_concat")}
    if set(fields) == set(KINDS):
        cells = [_genotype_cell(kind, fields[kind]) for kind in KINDS]
    elif set(fields) == set(_AW_NAS):
        cells = [_aw_nas_cell(kind, fields[name]) for name, kind in _AW_NAS.items()]
    else:
        _unreadable(text, f"it has {shortened(', '.join(map(str, value))) or 'nothing'}")
    for name, nodes in concats.items():
        if name.removesuffix("_concat") not in fields:
            _unreadable(text, f"it has {name}")
        if not isinstance(nodes, list | tuple) or tuple(nodes) != OUTPUT:
            raise InvalidArchitecture(
                f"{_NAME}: {name} is {nodes}; all four nodes make up the output, expected {list(OUTPUT)}."
            )
    return encoded(cells)


def _unreadable(text: str, why: str = "") -> NoReturn:
    shown = shortened(text, _SHOWN)
    raise InvalidArchitecture(f"{_NAME}: cannot read '{shown}'{why and ': '}{why}; expected a form like {_EXAMPLE}")


# --- text to values -------------------------------------------------------------------------------------------------


def _value(text: str) -> list[Any] | tuple[Any, ...] | dict[Any, Any]:
    """Return the list, tuple or dictionary that a text is; of a call its arguments by name. Nothing is run."""
    tree = _tree(text)
    if isinstance(tree, ast.Call):
        fields = {str(keyword.arg): _argument(keyword.value, str(keyword.arg)) for keyword in tree.keywords}
        if len(fields) < len(tree.keywords):
            _unreadable(text, "a name is there twice")
        configuration = fields.get("values")
        return configuration if isinstance(configuration, dict) else fields
    try:
        value: list[Any] | tuple[Any, ...] | dict[Any, Any] = literal(text)
    except ValueError as error:
        if isinstance(tree, ast.Dict):
            _unreadable(text, str(error))
        _not_plain("the compact form")
    return value


def _tree(text: str) -> ast.Call | ast.Tuple | ast.List | ast.Dict:
    """Return the syntax tree of a text: of a list or dictionary, or of a call whose arguments are all named."""
    if len(text) > _LONGEST:
        _unreadable(text)
    stripped = text.strip()
    # The form of aw_nas is the inside of a call.
    is_aw_nas = stripped.startswith("normal_0")
    source = f"aw_nas({stripped})" if is_aw_nas else _ASSIGNED.sub("", stripped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python about strange text
            tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        _unreadable(text)
    if isinstance(tree, ast.Tuple | ast.List | ast.Dict):
        return tree
    function = _FUNCTION.match(source)
    if isinstance(tree, ast.Call) and not tree.args and all(keyword.arg for keyword in tree.keywords):
        is_known = function is not None and tree.func.end_col_offset == function.end()
        if is_aw_nas or is_known:
            return tree
    _unreadable(text)


def _argument(node: ast.expr, name: str) -> Any:
    """Return the value of an argument, ``range(2, 6)`` as a list."""
    if isinstance(node, ast.Call) and ast.unparse(node) == f"range({OUTPUT[0]}, {OUTPUT[-1] + 1})":
        return list(OUTPUT)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        _not_plain(name)


def _not_plain(name: str) -> NoReturn:
    raise InvalidArchitecture(
        f"{_NAME}: {name} is not written in plain numbers and texts; expected a form like {_EXAMPLE}"
    )


# --- values to cells ------------------------------------------------------------------------------------------------


def _compact(value: Sequence[Any]) -> Sequence[Any]:
    if len(value) != len(KINDS):
        raise InvalidArchitecture(
            f"{_NAME}: the compact form has two cells, each of eight pairs (predecessor, operation number), "
            f"got {len(value)}; the usual form is {_EXAMPLE}"
        )
    return value


def _entries(kind: str, value: Any, example: tuple[int | str, ...], meaning: str) -> list[tuple[Any, ...]]:
    """Check the shape of a cell's entries: eight of the types of an example."""
    count = 2 * NODES
    entries = list(value) if isinstance(value, list | tuple) else []
    if not isinstance(value, list | tuple) or len(entries) != count:
        got = len(entries) if isinstance(value, list | tuple) else shortened(repr(value))
        raise InvalidArchitecture(f"{_NAME}: a {kind} cell has {count} entries {meaning}, two per node, got {got}.")
    types = [type(part) for part in example]
    for entry in entries:
        if not isinstance(entry, list | tuple) or [type(part) for part in entry] != types:
            raise InvalidArchitecture(
                f"{_NAME}: entry {shortened(repr(entry))} of the {kind} cell; expected {meaning}, such as {example}."
            )
    return [tuple(entry) for entry in entries]


def _genotype_cell(kind: str, value: Any) -> Cell:
    entries = _entries(kind, value, ("sep_conv_3x3", 0), "(operation, predecessor)")
    read = [(source, _option(name)) for name, source in entries]
    return tuple(_node(kind, node, read[2 * node : 2 * node + 2]) for node in range(NODES))


def _aw_nas_cell(kind: str, value: Any) -> Cell:
    entries = _entries(kind, value, ("sep_conv_3x3", 0, 2), "(operation, predecessor, node)")
    nodes: dict[int, list[Entry]] = {target: [] for target in OUTPUT}
    for name, source, target in entries:
        if target not in nodes:
            raise InvalidArchitecture(f"{_NAME}: the {kind} cell has nodes 2 to 5, got an entry of node {target}.")
        nodes[target].append((source, _option(name)))
    return tuple(_node(kind, target - INPUTS, read) for target, read in nodes.items())


def _compact_cell(kind: str, value: Any, first: int) -> Cell:
    entries = _entries(kind, value, (0, SEP3), "(predecessor, operation number)")
    for _, number in entries:
        if not first <= number < first + len(OPERATIONS):
            raise InvalidArchitecture(
                f"{_NAME}: operation number {number} in the {kind} cell, expected {first} to "
                f"{first + len(OPERATIONS) - 1}: {', '.join(OPERATIONS)}."
            )
    read = [(source, number - first) for source, number in entries]
    return tuple(_node(kind, node, read[2 * node : 2 * node + 2]) for node in range(NODES))


def _configured(value: dict[Any, Any]) -> Architecture:
    """Return the architecture of a ConfigSpace configuration, whose inactive edges are left out or None."""
    chosen = {str(key).rpartition(":")[2]: of_key for key, of_key in value.items() if of_key is not None}
    chosen = {key: of_key for key, of_key in chosen.items() if _CONFIGURED.fullmatch(key)}
    cells = []
    for kind in KINDS:
        nodes = []
        for node, pairs in enumerate(PAIRS):
            pair = (
                _chosen(chosen, inputs_name(kind, node), {f"{a}_{b}": (a, b) for a, b in pairs}) if node else pairs[0]
            )
            named = {name: OPERATIONS.index(name) for name in OPERATIONS}
            one, two = ((source, _chosen(chosen, edge_name(kind, node, source), named)) for source in pair)
            nodes.append((one, two))
        cells.append(tuple(nodes))
    if chosen:
        raise InvalidArchitecture(
            f"{_NAME}: the configuration has {', '.join(sorted(chosen))}, which its inputs_node entries do not choose."
        )
    return encoded(cells)


def _chosen(chosen: dict[str, Any], name: str, meanings: dict[str, Any]) -> Any:
    """Take a parameter out of a configuration and return what its value means."""
    short = name.rpartition(":")[2]
    if short not in chosen:
        raise InvalidArchitecture(f"{_NAME}: the configuration has no {short}.")
    value = chosen.pop(short)
    if not isinstance(value, str) or value not in meanings:
        raise InvalidArchitecture(
            f"{_NAME}: {short} is {shortened(repr(value))}; expected one of {', '.join(meanings)}."
        )
    return meanings[value]


@lru_cache(maxsize=1000)
def _similar(name: str) -> str | None:
    return nearest(name, OPERATIONS)


def _option(name: str) -> int:
    if name in OPERATIONS:
        return OPERATIONS.index(name)
    if name == "none":
        raise InvalidArchitecture(
            f"{_NAME}: operation 'none' is not in this space, where every node has two inputs; it is in the DARTS "
            f"space of NDS. Known: {', '.join(OPERATIONS)}."
        )
    guess = _similar(name)
    hint = f" Did you mean '{guess}'?" if guess else ""
    raise InvalidArchitecture(f"{_NAME}: unknown operation '{shortened(name)}'.{hint} Known: {', '.join(OPERATIONS)}.")


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


# --- a column as a whole --------------------------------------------------------------------------------------------


def shifted(texts: Sequence[str]) -> int:
    """Return how many of some texts that `parse` refuses are architectures where 'none' is operation number 0."""
    count = 0
    for text in texts:
        try:
            parse(text, first=1)
        except InvalidArchitecture:
            continue
        count += 1
    return count
