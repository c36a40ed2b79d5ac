"""The forms of cells: those that are read, and how the others are named."""

from __future__ import annotations

import json

import pytest

from supertau.search_spaces.errors import InvalidArchitecture
from supertau.search_spaces.nasbench201 import OPERATIONS, NASBench201
from supertau.search_spaces.nasbench201.cells import EDGES

SPACE = NASBench201()
CELLS = list(SPACE.enumerate())
ROWS = (0, 1234, 9999)


def nested(cell):
    ops = [OPERATIONS[option] for option in cell]
    return [[(ops[0], 0)], [(ops[1], 0), (ops[2], 1)], [(ops[3], 0), (ops[4], 1), (ops[5], 2)]]


def by_edge(cell, key, first=0):
    pairs = zip(EDGES, cell, strict=True)
    return {key(source + first, target + first): OPERATIONS[option] for (source, target), option in pairs}


FORMS = {
    "index": lambda cell: str(CELLS.index(cell)),
    "index as a float": lambda cell: f"{CELLS.index(cell)}.0",
    "Structure": lambda cell: f"Structure(4 nodes with {SPACE.format(cell)})",
    "CellStructure": lambda cell: f"models.CellStructure(4 nodes with {SPACE.format(cell)})",
    "Structure of a list": lambda cell: f"Structure({nested(cell)})",
    "quoted": lambda cell: f"'{SPACE.format(cell)}'",
    "blanks around +": lambda cell: SPACE.format(cell).replace("+", " + "),
    "blanks around all": lambda cell: SPACE.format(cell).replace("|", " | ").replace("~", " ~ "),
    "line breaks": lambda cell: SPACE.format(cell).replace("+", "+\n"),
    "identity": lambda cell: SPACE.format(cell).replace("skip_connect", "identity"),
    "nested list": lambda cell: str(nested(cell)),
    "nested tuples": lambda cell: str(tuple(tuple(node) for node in nested(cell))),
    "first node without its comma": lambda cell: str((nested(cell)[0][0], *nested(cell)[1:])),
    "nested JSON": lambda cell: json.dumps(nested(cell)),
    "nested, another order": lambda cell: str([node[::-1] for node in nested(cell)]),
    "identity in a list": lambda cell: str(nested(cell)).replace("skip_connect", "identity"),
    "edges 1<-0": lambda cell: str(by_edge(cell, lambda s, t: f"{t}<-{s}")),
    "edges 0->1": lambda cell: json.dumps(by_edge(cell, lambda s, t: f"{s}->{t}")),
    "edges 0_1": lambda cell: str(by_edge(cell, lambda s, t: f"edge_{s}_{t}")),
    "edges (0, 1)": lambda cell: str(by_edge(cell, lambda s, t: (s, t))),
    "edges (1, 2)": lambda cell: str(by_edge(cell, lambda s, t: (s, t), first=1)),
    "edges in another order": lambda cell: str(dict(sorted(by_edge(cell, lambda s, t: (s, t)).items()))),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_are_read(form):
    for row in ROWS:
        assert SPACE.parse(FORMS[form](CELLS[row])) == CELLS[row]


EDGE = by_edge(CELLS[0], lambda s, t: f"{t}<-{s}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("310421", "six digits seem to be numbers of operations"),
        ("004132", "six digits seem to be numbers of operations"),
        ("15625", "index 15625, expected 0 to 15,624"),
        ("-3", "index -3, expected"),
        ("007", "index 007, expected"),
        ("12.5", "cannot read '12.5'"),
        ("[3, 1, 0, 4, 2, 1]", "six numbers of operations"),
        ("['none', 'none', 'none', 'none', 'none', 'none']", "six operations without their edges"),
        ("[]", "a list of 0; a nested list has one part for each of the 3 nodes"),
        ("[1, 2, 3]", "node 1 of a nested list has pairs of operation and predecessor"),
        ("[[('none', 0)], [('none', 0), ('none', 0)], []]", "node 2 has one operation from each of the 2 nodes before"),
        ("[[('none', 0)], [('none', 0), ('none', True)], []]", "node 2 of a nested list has pairs"),
        (
            str(nested(CELLS[0])).replace("skip_connect", "skip"),
            r"unknown operation 'skip'.*Did you mean 'skip_connect'",
        ),
        ("{}", "a dictionary has 6 edges between the nodes 0 to 3"),
        (str({**EDGE, "4<-0": "none"}), "a dictionary has 6 edges"),
        (str({**EDGE, "0->1": "none"}), "a dictionary has 6 edges"),
        (str({f"x{number}": "none" for number in range(6)}), "a dictionary has 6 edges"),
        (str(dict.fromkeys(EDGE, 3)), "a dictionary has the name of an operation for each edge"),
        (str(EDGE).replace("none", "zeroize").replace("skip_connect", "zeroize"), "unknown operation 'zeroize'"),
        (str(EDGE)[:-1] + ", '1<-0': 'none'}", "cannot read"),  # Python would take the last
        ("Structure(5 nodes with |none~0|)", "cannot read"),
        ("__import__('os')", "cannot read"),
        ("[__import__('os')]", "cannot read"),
    ],
)
def test_the_others_are_named(text, message):
    with pytest.raises(InvalidArchitecture, match=rf"^nasbench201: .*{message}"):
        SPACE.parse(text)


TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("nor_", ""),
        TEXT.replace("nor_conv_3x3", "Nor_Conv_3x3").replace("avg_pool_3x3", "avgpool3x3"),
        TEXT.replace("|none~0|skip_connect~1|", "|skip~1|none~0|"),
        TEXT.replace("+", ""),
        TEXT.replace("skip_connect", "identiti")
        .replace("identiti~1", "skip_connect~1")
        .replace("identiti", "skip-connect"),
        "[[('conv_3x3', 0)], [('none', 0), ('skip', 1)], [('avg_pool', 0), ('nor_conv1x1', 1), ('skip', 2)]]",
    ],
)
def test_the_nearest_has_the_operations_that_were_most_likely_meant(text):
    assert SPACE.nearest(text) == TEXT


@pytest.mark.parametrize("text", ["", "rubbish", TEXT[:40], TEXT.replace("none", "zzzz"), TEXT + "+" + TEXT])
def test_no_guess_where_it_is_not_a_matter_of_spelling(text):
    assert SPACE.nearest(text) is None
