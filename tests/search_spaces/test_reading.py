"""Reading whole columns: one form for all, every offending row with its reason, and no other cell by accident."""

from __future__ import annotations

import csv
import gzip
import pickle
from collections import namedtuple

import numpy as np
import pytest

from supertau.search_spaces.errors import InvalidArchitecture, InvalidArchitectures
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench301.genotype import decoded, to_compact
from supertau.search_spaces.nasbench301.space import DARTS
from supertau.search_spaces.nds.space import NDSResNet

NB201, NB301, RESNET = NASBench201(), DARTS(), NDSResNet()
CELLS = list(NB201.enumerate())
TEXTS = [NB201.format(cell) for cell in CELLS[:20]]


def refused(space, values):
    with pytest.raises(InvalidArchitectures) as caught:
        space.read(values)
    return caught.value


def test_a_column_is_read_in_its_order():
    assert NB201.read(TEXTS) == CELLS[:20]
    assert NB201.read([]) == []


@pytest.mark.parametrize("kind", [int, str, float, np.int64, np.float64, lambda number: f"{number}.0"])
def test_a_column_of_whole_numbers_is_the_benchmarks_index(kind):
    numbers = [12759, 0, 15624]
    assert NB201.read([kind(number) for number in numbers]) == [CELLS[number] for number in numbers]


NO_INDEX = [-1, 15625, 10**30, 1e300, 0.5, float("nan"), float("inf"), True, np.bool_(True), None, "", " "]


@pytest.mark.parametrize("wrong", [*NO_INDEX, pytest.param(10**5000, id="huge")])
def test_what_is_no_index(wrong):
    error = refused(NB201, [3, wrong, 5])
    assert list(error.rows) == [1]


def test_numbers_among_texts_are_refused_and_so_are_texts_among_numbers():
    error = refused(NB201, [*TEXTS[:5], 7, "8"])
    assert error.rows == {
        5: "7 is a number among texts; use one form for all.",
        6: "8 is a number among texts; use one form for all.",
    }
    error = refused(NB201, [1, 2, 3, TEXTS[9]])
    assert list(error.rows) == [3]
    assert "is a text among numbers" in error.rows[3]


def test_every_offending_row_has_its_reason_and_the_first_five_are_named():
    values = list(TEXTS)
    for row in range(3, 10):
        values[row] = f"rubbish {row}"
    error = refused(NB201, values)
    assert isinstance(error, InvalidArchitecture)
    assert list(error.rows) == list(range(3, 10))
    assert error.rows[9].startswith("nasbench201: cannot read 'rubbish 9'")
    assert str(error).startswith(
        "7 of 20 architectures cannot be read:\n  value 4: nasbench201: cannot read 'rubbish 3'"
    )
    assert str(error).endswith("\n  and 2 more")
    assert str(error).count("rubbish") == 5


def test_callers_name_the_file_and_the_rows():
    error = refused(NB201, [TEXTS[0], "rubbish"])
    assert error.message("scores.csv", lambda row: f"line {row + 2}").startswith(
        "scores.csv, line 3: nasbench201: cannot"
    )
    error = refused(NB201, ["rubbish", "more"])
    assert error.message("scores.csv", lambda row: f"line {row + 2}").startswith(
        "scores.csv: 2 of 2 architectures cannot be read:\n  line 2: "
    )


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(refused(NB201, [TEXTS[0], "rubbish"])))
    assert (list(error.rows), error.total) == ([1], 2)
    assert "rubbish" in str(error)


def test_only_the_first_five_are_told_the_nearest_architecture():
    error = refused(NB201, [text.replace("nor_conv", "conv") for text in TEXTS])
    hinted = [row for row, reason in error.rows.items() if " Nearest: |" in reason]
    assert hinted == list(error.rows)[:5]
    row = hinted[0]
    assert error.rows[row].endswith(f" Nearest: {NB201.nearest(TEXTS[row].replace('nor_conv', 'conv'))}")


def test_the_nearest_is_not_looked_for_among_all_cells(monkeypatch):
    def listed(space):
        raise AssertionError("all cells were listed")

    monkeypatch.setattr(NASBench201, "enumerate", listed)
    refused(NB201, [text.replace("nor_conv", "conv") for text in TEXTS])


@pytest.mark.parametrize("space", [NB201, NB301, RESNET])
@pytest.mark.parametrize("text", ["x" * 1_000_000, "[" * 1_000_000, "d" + "1" * 1_000_000, "|none~0" * 100_000])
def test_a_long_text_is_refused_by_its_beginning(space, text):
    error = refused(space, [text])
    assert f"({len(text):,} characters)" in error.rows[0]
    assert len(str(error)) < 3000
    assert space.nearest(text) is None


# --- numbers of operations that are shifted by one --------------------------------------------------------------------


def shifted(architecture):
    cells = (tuple((source, option + 1) for node in cell for source, option in node) for cell in decoded(architecture))
    return str(tuple(cells))


LOW = [(0, 0, 1) * 8, (0, 2, 3) * 8, (0, 5, 4) * 8]  # shifted, these are other architectures
HIGH = (0, 6, 1) * 8  # shifted, this one is none


def test_shifted_numbers_are_other_architectures_when_nothing_gives_them_away():
    assert NB301.read([shifted(architecture) for architecture in LOW]) != LOW


@pytest.mark.parametrize("form", [str, eval], ids=["text", "tuples"])
def test_a_column_with_shifted_numbers_is_refused_as_a_whole_and_the_message_names_it(form):
    error = refused(NB301, [form(shifted(architecture)) for architecture in (*LOW, HIGH)])
    assert list(error.rows) == [3]
    for text in (error.rows[3], str(error)):
        assert "operation number 7 in the normal cell, expected 0 to 6" in text
        assert "1 of the 4 rows are cells only if 'none' is operation number 0" in text
        assert "off-by-one" in text


def test_other_mistakes_are_not_taken_for_shifted_numbers():
    standard = [to_compact(architecture) for architecture in (*LOW, HIGH)]
    for wrong in (standard[0].replace("(1, 1)", "(1, 9)"), "rubbish", standard[0].replace("(1, 1)", "(7, 1)")):
        assert "off-by-one" not in str(refused(NB301, [*standard, wrong]))


def test_a_real_pool_with_shifted_numbers(real_file):
    with gzip.open(real_file("nb301/nb301_5896.csv.gz"), "rt", encoding="utf-8") as file:
        pool = list(dict.fromkeys(NB301.read([row["genotype"] for row in csv.DictReader(file)])))
    texts = [shifted(architecture) for architecture in pool]
    error = refused(NB301, texts)
    assert (error.total, error.total - len(error.rows)) == (5468, 832)  # 832 are other cells
    assert "4,636 of the 5,468 rows are cells only if 'none' is operation number 0" in str(error)


# --- values that are no texts -----------------------------------------------------------------------------------------

Genotype = namedtuple("Genotype", "normal normal_concat reduce reduce_concat")


def test_objects_lists_and_arrays_mean_what_their_text_does():
    genotype = eval(NB301.format(HIGH), {"Genotype": Genotype})
    compact = eval(to_compact(HIGH))
    arrays = np.array(compact)
    assert NB301.read([genotype, genotype._asdict(), compact, arrays, list(arrays)]) == [HIGH] * 5
    nested = [[["none", 0]], [["none", 0], ["skip_connect", 1]], [["none", 0], ["none", 1], ["avg_pool_3x3", 2]]]
    text = "|none~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
    objects = np.array([part for node in nested for part in node], dtype=object)
    by_node = [objects[:1], objects[1:3], objects[3:]]
    assert NB201.read([nested, tuple(nested), by_node]) == [NB201.parse(text)] * 3


def test_objects_without_a_text_are_refused():
    endless: list[object] = []
    endless.append(endless)
    assert list(refused(NB201, [endless, [10**5000], object()]).rows) == [0, 1, 2]


def test_encodings_are_refused_because_code_bases_number_differently():
    error = refused(NB201, [CELLS[5], list(CELLS[6])])
    assert list(error.rows) == [0, 1]
    assert "six numbers of operations, which are not the same everywhere" in error.rows[0]
    assert list(refused(NB301, [HIGH]).rows) == [0]
    assert list(refused(RESNET, [(0,) * 6]).rows) == [0]
