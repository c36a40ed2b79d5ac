"""Text forms of DARTS cells: nasbench301, NASLib, aw_nas; what damaged texts are told."""

import csv
import gzip
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supertau.search_spaces.errors import InvalidArchitecture
from supertau.search_spaces.nasbench301.forms import parse
from supertau.search_spaces.nasbench301.genotype import (
    CHOICES,
    OPERATIONS,
    PAIRS,
    decoded,
    encoded,
    to_aw_nas,
    to_compact,
    to_genotype,
)

FORMS = (to_genotype, to_compact, to_aw_nas)
# DARTS (second order) as published, its second node with entries that are not in order of predecessors.
TEXT = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
NORMAL = (0, 3, 3, 0, 3, 3, 0, 2, 3, 1, 2, 5)
CELLS = (*NORMAL, 0, 0, 0, 2, 0, 2, 1, 0, 2, 4, 0, 2)

architectures = st.tuples(*(st.integers(0, count - 1) for count in CHOICES))


def test_the_encoding_has_a_pair_and_two_operations_per_node():
    assert CHOICES == (1, 7, 7, 3, 7, 7, 6, 7, 7, 10, 7, 7) * 2
    assert PAIRS[1] == ((0, 1), (0, 2), (1, 2))
    assert PAIRS[3][-1] == (3, 4)


def test_the_published_cells():
    assert parse(TEXT) == CELLS
    normal, reduction = decoded(CELLS)
    assert normal[2] == ((0, 2), (1, 3))
    assert reduction[1] == ((1, 0), (2, 2))


@given(architectures)
def test_every_form_reads_back(architecture):
    assert encoded(decoded(architecture)) == architecture
    for form in FORMS:
        assert parse(form(architecture)) == architecture
        assert parse(f"\n {form(architecture)}  ") == architecture


def test_the_forms_are_those_of_their_projects():
    text = to_genotype(CELLS)
    assert text == TEXT.replace(
        "('sep_conv_3x3', 1), ('skip_connect', 0)", "('skip_connect', 0), ('sep_conv_3x3', 1)"
    ).replace("('skip_connect', 2), ('max_pool_3x3', 1)", "('max_pool_3x3', 1), ('skip_connect', 2)")
    assert to_compact(CELLS) == (
        "(((0, 3), (1, 3), (0, 3), (1, 3), (0, 2), (1, 3), (0, 2), (2, 5)), "
        "((0, 0), (1, 0), (1, 0), (2, 2), (0, 0), (2, 2), (1, 0), (2, 2)))"
    )
    assert to_aw_nas(CELLS).startswith("normal_0=[('sep_conv_3x3', 0, 2), ('sep_conv_3x3', 1, 2), ")
    assert to_aw_nas(CELLS).endswith("('skip_connect', 2, 5)],reduce_1_concat=(2, 3, 4, 5)")


@pytest.mark.parametrize("written", ["(2, 3, 4, 5)", "range(2, 6)", "range(2,6)"])
def test_ways_to_write_the_nodes_of_the_output(written):
    assert parse(TEXT.replace("[2, 3, 4, 5]", written)) == CELLS
    assert parse(to_aw_nas(CELLS).replace("(2, 3, 4, 5)", written)) == CELLS


def test_entries_of_aw_nas_may_come_in_any_order():
    entries = re.findall(r"\('\w+', \d, \d\)", to_aw_nas(CELLS))
    swapped = to_aw_nas(CELLS).replace(", ".join(entries[:8]), ", ".join(reversed(entries[:8])))
    assert swapped != to_aw_nas(CELLS)
    assert parse(swapped) == CELLS


def test_real_genotypes(real_file):
    with gzip.open(real_file("nb301/nb301_5896.csv.gz"), "rt") as file:
        texts = [row["genotype"] for row in csv.DictReader(file)]
    assert len(texts) == 5896
    assert [to_aw_nas(parse(text)) for text in texts[::5]] == texts[::5]


# --- what damaged texts are told ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dil_conv_3x3", "dil_conv_7x7", r"unknown operation 'dil_conv_7x7'\. Did you mean 'dil_conv_[35]x[35]'\?"),
        ("dil_conv_3x3", "zzz", r"unknown operation 'zzz'\. Known: max_pool_3x3, .*, dil_conv_5x5\."),
        ("dil_conv_3x3", "none", "'none' is not in this space, where every node has two inputs; .* NDS"),
        ("('sep_conv_3x3', 1), ", "('sep_conv_3x3', 0), ", "node 2 of the normal cell has predecessor 0 twice"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)", "node 5 of the normal cell has predecessor 5, expected 0 to 4"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', -1)", "has predecessor -1, expected 0 to 4"),
        (", ('dil_conv_3x3', 2)]", "]", r"a normal cell has 8 entries \(operation, predecessor\), two per node, got 7"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', '2')", r"entry \('dil_conv_3x3', '2'\) of the normal cell; expected"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', True)", "entry .*True.* of the normal cell; expected"),
        ("('dil_conv_3x3', 2)", "(2, 'dil_conv_3x3')", r"expected \(operation, predecessor\), such as"),
        ("('dil_conv_3x3', 2)", "7", "entry 7 of the normal cell; expected"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=[3, 4, 5]", "normal_concat is .3, 4, 5.; all four nodes make up"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=4", "normal_concat is 4; all four nodes"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=range(3, 6)", "normal_concat is not written in plain numbers"),
        ("2)], normal_concat", "two)], normal_concat", "normal is not written in plain numbers and texts"),
    ],
)
def test_what_is_wrong_is_named(old, new, message):
    assert old in TEXT
    with pytest.raises(InvalidArchitecture, match=f"^nasbench301: .*{message}"):
        parse(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(2, 5))", "(2, 7))", "operation number 7 in the normal cell, expected 0 to 6: max_pool_3x3"),
        ("(2, 5))", "(5, 5))", "node 5 of the normal cell has predecessor 5"),
        ("(2, 5))", "(2, 5), (3, 5))", r"8 entries \(predecessor, operation number\), two per node, got 9"),
        ("(2, 5))", "(2, 5, 1))", r"entry \(2, 5, 1\) of the normal cell"),
        ("(2, 5)),", "(2, 5)), 4,", "has two cells, .* got 3"),
        ("(2, 5))", "(2, len))", "compact form is not written in plain numbers"),
    ],
)
def test_what_is_wrong_with_the_compact_form(old, new, message):
    assert old in to_compact(CELLS)
    with pytest.raises(InvalidArchitecture, match=message):
        parse(to_compact(CELLS).replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2, 5)]", "2, 4)]", "node 4 of the normal cell has 3 entries, expected 2"),
        ("2, 5)]", "2, 6)]", "the normal cell has nodes 2 to 5, got an entry of node 6"),
    ],
)
def test_what_is_wrong_with_the_form_of_aw_nas(old, new, message):
    with pytest.raises(InvalidArchitecture, match=message):
        parse(to_aw_nas(CELLS).replace(old, new, 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "garbage",
        str(CELLS[0]),
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|",
        TEXT.removesuffix(")"),
        TEXT.removeprefix("Genotype"),
        TEXT.replace("Genotype", "open"),
        TEXT.replace("Genotype", "a.b"),
        TEXT.replace("Genotype(", "Genotype(1, "),
        TEXT.replace("Genotype(", "Genotype(**{}, "),
        TEXT.replace("reduce_concat", "reduce_cat"),
        TEXT.replace("reduce=", "normal="),
        to_aw_nas(CELLS).replace("reduce_1", "reduce_2"),
        TEXT.replace("sep_conv_3x3'", "sep_conv_3x3"),
        TEXT + "\0",
        "(" * 5000,
        "-" * 5000 + "1",
        TEXT + " " * 10_000 + "x",
    ],
)
def test_other_texts_are_shown_what_is_expected(text):
    with pytest.raises(InvalidArchitecture, match=r"^nasbench301: cannot read '") as e:
        parse(text)
    assert parse(str(e.value).rpartition("a form like ")[2])
    assert len(str(e.value)) < 2_000


PIECES = ["(", ")", "[", "]", "=", ",", "0", "-1", "9", "'", "\n", "\0", "none", "range", "*", "lambda:", *OPERATIONS]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join)))
def test_nothing_else_is_raised(text):
    with pytest.raises(InvalidArchitecture):
        parse(text)


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_text_is_refused_or_is_another_architecture(form):
    rng = np.random.default_rng(0)
    whole = form(CELLS)
    refused = 0
    for _ in range(150):
        start, stop = sorted(rng.integers(len(whole), size=2))
        text = whole[:start] + PIECES[rng.integers(len(PIECES))] + whole[min(stop, start + 4) :]
        try:
            read = parse(text)
        except InvalidArchitecture:
            refused += 1
        else:
            assert parse(form(read)) == read
    assert refused > 100
