"""Pools from files in the shapes that people have."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest

from supertau.search_spaces.errors import DataError, InvalidArchitecture
from supertau.search_spaces.listing import column
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench301.genotype import to_compact
from supertau.search_spaces.nasbench301.space import DARTS
from supertau.search_spaces.pool import select

SPACE, NB301 = NASBench201(), DARTS()
CELLS = tuple(SPACE.enumerate())
CHOSEN = (7, 3, 15_000)
TEXTS = [SPACE.format(CELLS[row]) for row in CHOSEN]
NESTED = "[(('{}', 0),), (('{}', 0), ('{}', 1)), (('{}', 0), ('{}', 1), ('{}', 2))]"
GENOTYPES = [(0, 0, 1) * 8, (0, 6, 3) * 8]


def nested(text):
    return NESTED.format(*[term.partition("~")[0] for term in text.replace("+", "").split("|") if term])


def lines(*rows):
    return "\n".join(rows) + "\n"


FRAME = pd.DataFrame({"seed": [1, 2, 3], "architecture": TEXTS, "score": [0.1, 0.2, 0.3]}, index=[9, 8, 7])

SHAPES = {
    "lines": lines(*TEXTS),
    "comments and empty lines": lines("# made by me", "", TEXTS[0], "  ", "# two more", *TEXTS[1:]),
    "no last line break": lines(*TEXTS).strip(),
    "Windows line ends": lines(*TEXTS).replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + lines(*TEXTS),
    "lines with scores": lines(*(f"{text},9{at}.5" for at, text in enumerate(TEXTS))),
    "lines with scores after semicolons": lines(*(f"{text};9,{at}" for at, text in enumerate(TEXTS))),
    "lines with scores after tabs": lines(*(f"{text}\t{at}" for at, text in enumerate(TEXTS))),
    "quoted": lines(*(f'"{text}",{at}' for at, text in enumerate(TEXTS))),
    "index": lines(*map(str, CHOSEN)),
    "index and scores": lines(*(f"{row},91.5" for row in CHOSEN)),
    "Structure": lines(*(f"Structure(4 nodes with {text})" for text in TEXTS)),
    "nested lists": lines(*map(nested, TEXTS)),
    "nested lists, quoted": lines("architecture,score", *(f'"{nested(text)}",{at}' for at, text in enumerate(TEXTS))),
    "a frame": FRAME.to_csv(index=False),
    "a frame with its index": FRAME.to_csv(),
    "a frame with semicolons": FRAME.to_csv(index=False, sep=";"),
    "a frame with tabs": FRAME.to_csv(index=False, sep="\t"),
    "a header with capitals and blanks": lines("Score , Architecture", *(f"1, {text}" for text in TEXTS)),
    "a header below a comment": lines("# mine", "score,arch", *(f"1,{text}" for text in TEXTS), "# end"),
    "arch_str": lines("arch_str,score", *(f"{text},1" for text in TEXTS)),
    "a column of the index": lines("architecture,score", *(f"{row},1" for row in CHOSEN)),
    "JSON list": json.dumps(TEXTS),
    "JSON list on lines": json.dumps(TEXTS, indent=1),
    "JSON index": json.dumps(CHOSEN),
    "JSON mapping": json.dumps(dict.fromkeys(TEXTS, 1.0)),
    "JSON records": FRAME.to_json(orient="records"),
    "JSON columns": FRAME.to_json(),
    "JSON lists of a column": json.dumps({"architecture": TEXTS, "score": [1, 2, 3]}),
    "JSON nested lists": json.dumps([eval(nested(text)) for text in TEXTS]),
    "JSON lines": lines(*(json.dumps(eval(nested(text))) for text in TEXTS)),
}


NAMED = [(shape, suffix) for shape in SHAPES for suffix in (".txt", ".csv")]
NAMED += [(shape, ".json") for shape in SHAPES if shape.startswith("JSON ") and shape != "JSON lines"]


@pytest.mark.parametrize(("shape", "suffix"), NAMED)
def test_shapes_that_are_read(tmp_path, shape, suffix):
    path = tmp_path / f"pool{suffix}"
    path.write_text(SHAPES[shape], encoding="utf-8", newline="")
    assert select(SPACE, str(path)).architectures == tuple(CELLS[row] for row in CHOSEN)


def test_compressed_text_and_parquet(tmp_path):
    expected = tuple(CELLS[row] for row in CHOSEN)
    (tmp_path / "pool.csv.gz").write_bytes(gzip.compress(lines(*TEXTS).encode()))
    FRAME.to_parquet(tmp_path / "POOL.PARQUET")
    FRAME.set_index("architecture").to_parquet(tmp_path / "index.parquet")
    for name in ("pool.csv.gz", "POOL.PARQUET", "index.parquet"):
        assert select(SPACE, str(tmp_path / name)).architectures == expected
    FRAME[["score"]].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"none.parquet' has no column 'architecture', only score"):
        select(SPACE, str(tmp_path / "none.parquet"))


@pytest.mark.parametrize(
    "text",
    [
        lines(*map(NB301.format, GENOTYPES)),
        lines(*(f"C{at} = {NB301.format(cells)}" for at, cells in enumerate(GENOTYPES))),
        lines(*map(to_compact, GENOTYPES)),
        lines(*(json.dumps(eval(to_compact(cells))) for cells in GENOTYPES)),
        json.dumps([eval(to_compact(cells)) for cells in GENOTYPES]),
        lines("genotype,acc", *(f'"{NB301.format(cells)}",1' for cells in GENOTYPES)),
    ],
)
def test_forms_of_genotypes(tmp_path, text):
    (tmp_path / "pool.txt").write_text(text, encoding="utf-8")
    assert select(NB301, str(tmp_path / "pool.txt")).architectures == tuple(GENOTYPES)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.txt", lines(TEXTS[0], "rubbish", TEXTS[1]), r"p.txt', line 2: nasbench201: cannot read 'rubbish'"),
        (
            "p.txt",
            lines(TEXTS[0], "a", "", "b"),
            r"p.txt': 2 of 3 architectures cannot be read:\n  line 2: .*\n  line 4: ",
        ),
        ("p.txt", lines(*TEXTS, "77"), r"line 4: 77 is a number among texts"),
        ("p.txt", lines(*(f"{at},{text}" for at, text in enumerate(TEXTS))), r"line 1: nasbench201: cannot read '0,\|"),
        ("p.csv", lines("score,architecture", "1"), r"p.csv', line 2: no value in column 2"),
        ("p.csv", lines("architecture,score", f"{TEXTS[0]},1", ",2"), r"line 3: the value is empty"),
        ("p.csv", lines("architecture", TEXTS[0], "", TEXTS[0]), "lines 2 and 4 hold the same architecture"),
        ("p.json", json.dumps([TEXTS[0], "rubbish"]), r"p.json', entry 2: nasbench201: cannot read 'rubbish'"),
        ("p.json", json.dumps([TEXTS[0], None]), "entry 2: the value is empty"),
        ("p.json", json.dumps([TEXTS[0]] * 2), "entries 1 and 2 hold the same architecture"),
        ("p.json", f'{{"{TEXTS[0]}": 1, "{TEXTS[0]}": 2}}', r"cannot be read as JSON: the key '\|.* is there twice"),
        ("p.json", "[1, 2", "p.json' cannot be read as JSON"),
        ("p.json", "[" * 100_000, "p.json' cannot be read as JSON"),
        ("p.json", '"text"', "cannot be read as JSON: expected a list of architectures"),
        ("p.txt", "# nothing\n", "holds 0 architectures"),
        ("p.csv", "architecture,score\n", "holds 0 architectures"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises((DataError, InvalidArchitecture), match=f"(?s)pool file '.*{message}"):
        select(SPACE, str(tmp_path / name))


def test_the_column_of_architectures_is_never_one_of_numbers_by_its_place():
    assert column(["", "seed", "Arch", " Architecture "]) == 3
    assert column(["index", "score"]) is None
