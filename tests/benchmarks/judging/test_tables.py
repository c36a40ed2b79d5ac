"""Tables of scores as people have them: each form gives the same scores, or an error with the true reason."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from supertau.benchmarks.judging.columns import read_scores
from supertau.search_spaces.errors import DataError, UnknownName
from supertau.search_spaces.spaces import get_space

SPACE = get_space("nasbench201")
CELLS = [SPACE.format(a) for a in list(SPACE.enumerate())[1000:1006]]
SCORES = [91.5, 85.25, 58.75, 78.5, 88.125, -0.5]
ROWS = list(zip(CELLS, SCORES, strict=True))
FRAME = pd.DataFrame({"architecture": CELLS, "score": SCORES})
INDEXED = FRAME.set_index("architecture")
WITHOUT_NAME = INDEXED.rename_axis(None)


def lines(header: str, row: str = "{},{}", rows: list[tuple[str, float]] = ROWS, end: str = "\n") -> str:
    return end.join([header, *(row.format(*each) for each in rows), ""])


def parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


PLAIN = lines("architecture,score")
FORMS: dict[str, str | bytes] = {
    "plain": PLAIN,
    "no line end at the end": PLAIN.rstrip("\n"),
    "lines of Windows": lines("architecture,score", end="\r\n"),
    "lines of an old Macintosh": lines("architecture,score", end="\r"),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "semicolons": lines("architecture;score", "{};{}"),
    "tabs": lines("architecture\tscore", "{}\t{}"),
    "blanks": lines(" architecture , score ", " {} ,  {} "),
    "case": lines("ARCHITECTURE,Score"),
    "quotes": lines('"architecture","score"', '"{}", "{}"'),
    "columns in another order": lines("score,architecture", "{1},{0}"),
    "comments and blank lines": "# scores\n\n" + PLAIN.replace("\n", "\n# a comment, with a comma\n\n"),
    "header in a comment": lines("# architecture,score"),
    "header in a comment below another": "# by numpy\n" + lines("#architecture,score"),
    "header before a comment": lines("architecture,score\n# numbers, all of them"),
    "empty rows of a spreadsheet": PLAIN + ",\n,\n",
    "decimal commas": lines("architecture;score", "{};{}").replace(".", ","),
    "decimal commas between tabs": lines("architecture\tscore", "{}\t{}").replace(".", ","),
    "decimal commas in a header with a comma": lines("architecture;score;a,b", "{};{};x").replace(".", ","),
    "arch": lines("arch,score"),
    "arch_str": lines("Arch Str,score"),
    "genotype": lines("genotype,score"),
    "a row number first": lines(",architecture,score", "7,{},{}"),
    "architectures without a name": lines(",score"),
    "what pandas calls a column without a name": lines("Unnamed: 0,score"),
    "compressed": gzip.compress(PLAIN.encode()),
    "JSON: a mapping": json.dumps(dict(ROWS)),
    "JSON: a mapping of texts": json.dumps({cell: str(score) for cell, score in ROWS}),
    "JSON: records": FRAME.to_json(orient="records"),
    "JSON: records, indented": "\n" + FRAME.to_json(orient="records", indent=2),
    "JSON: lines": FRAME.to_json(orient="records", lines=True),
    "JSON: records by row": FRAME.to_json(orient="index"),
    "JSON: records by architecture": INDEXED.to_json(orient="index"),
    "JSON: columns": FRAME.to_json(),
    "JSON: columns by architecture": INDEXED.to_json(),
    "JSON: columns as lists": json.dumps(FRAME.to_dict(orient="list")),
    "JSON: pairs": json.dumps(ROWS),
    "JSON: rows with a header": json.dumps([["score", "architecture"], *([s, c] for c, s in ROWS)]),
    "JSON: byte order mark": b"\xef\xbb\xbf" + json.dumps(dict(ROWS)).encode(),
    "JSON: compressed": gzip.compress(json.dumps(dict(ROWS)).encode()),
    "Parquet": parquet(FRAME),
    "Parquet: architectures as the index": parquet(INDEXED),
    "Parquet: an index without a name": parquet(WITHOUT_NAME),
    "Parquet: rows of another table": parquet(FRAME.set_axis(range(60, 66))),
    "Parquet: single precision": parquet(FRAME.astype({"score": "float32"})),
    "Parquet: categories": parquet(FRAME.astype({"architecture": "category"})),
}


@pytest.mark.parametrize("name", ["scores.csv", "scores.PARQUET", "scores.json", "scores"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_scores_whatever_its_name(tmp_path: Path, form: str, name: str) -> None:
    content = FORMS[form]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    read = read_scores(tmp_path / name, SPACE)
    assert [SPACE.format(a) for a in read.architectures] == CELLS
    assert [column.lower() for column in read.columns] == ["score"]
    assert read.scores.iloc[:, 0].tolist() == SCORES


@pytest.mark.parametrize(
    "given",
    [
        FRAME,
        FRAME.set_axis([5, 3, 9, 1, 0, 2]),
        INDEXED,
        WITHOUT_NAME,
        FRAME.set_index("architecture", drop=False),
        FRAME.assign(seed=3).set_index(["seed", "architecture"]),
        INDEXED["score"],
        INDEXED["score"].rename(None),
        dict(ROWS),
        {cell: np.float64(score) for cell, score in ROWS},
        FRAME.astype({"score": "Float64"}),
        FRAME.astype({"score": object}),
    ],
)
def test_frames_series_and_dictionaries_are_read_like_files(given: object) -> None:
    read = read_scores(given, SPACE)
    assert [SPACE.format(a) for a in read.architectures] == CELLS
    assert read.columns == ("score",)
    assert read.scores["score"].tolist() == SCORES


@pytest.mark.parametrize("quoted", [True, False], ids=["quoted", "within brackets"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_genotypes_may_hold_the_separator(tmp_path: Path, separator: str, quoted: bool) -> None:
    space = get_space("nasbench301")
    rng = np.random.default_rng(0)
    given = [space.sample(rng) for _ in range(4)]
    texts = [space.format(a) for a in given]
    assert all("," in text for text in texts)
    file = io.StringIO()
    if quoted:
        csv.writer(file, delimiter=separator).writerows([("architecture", "score"), *zip(texts, range(4), strict=True)])
    else:
        file.write(
            "".join(f"{a}{separator}{b}\n" for a, b in [("architecture", "score"), *zip(texts, "0123", strict=True)])
        )
    (tmp_path / "scores.csv").write_text(file.getvalue())
    read = read_scores(tmp_path / "scores.csv", space)
    assert read.architectures == given
    assert read.scores["score"].tolist() == [0, 1, 2, 3]


# --- which column ---------------------------------------------------------------------------------------------------
def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"architecture": CELLS, **columns})


ORDER = [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("given", "column", "left_out"),
    [
        (table(**{"": ORDER, "score": SCORES}), "score", ("",)),
        (table(**{"Unnamed: 0": SCORES[::-1], "accuracy": SCORES}), "accuracy", ("Unnamed: 0",)),
        (table(index=SCORES[::-1], accuracy=SCORES), "accuracy", ("index",)),
        (table(arch_index=SCORES[::-1], accuracy=SCORES), "accuracy", ("arch_index",)),
        (table(Seed=[777] * 6, accuracy=SCORES), "accuracy", ("Seed",)),
        (table(rank=[2, 1, 3, 4, 5, 6], accuracy=SCORES), "accuracy", ("rank",)),
        (table(epoch=[12] * 6, accuracy=SCORES), "accuracy", ("epoch",)),
        (table(n=ORDER, accuracy=SCORES), "accuracy", ("n",)),
        (table(n=[0, 1, 2, 3, 4, 5], accuracy=SCORES), "accuracy", ("n",)),
        (table(connected=[True] * 5 + [False], accuracy=SCORES), "accuracy", ()),
        (table(connected=["True"] * 5 + ["False"], accuracy=SCORES), "accuracy", ()),
        (table(comment=["good", "1", "bad", "", "x", "y"], accuracy=SCORES), "accuracy", ()),
        (table(seed=[1] * 6, params=ORDER[::-1], SCORE=SCORES), "SCORE", ("seed", "params")),
        (table(score=ORDER, params=ORDER[::-1]), "score", ("params",)),
    ],
)
@pytest.mark.parametrize("form", ["frame", "csv", "parquet"])
def test_the_score_is_taken_and_what_was_taken_is_said(
    tmp_path: Path, given: pd.DataFrame, column: str, left_out: tuple[str, ...], form: str
) -> None:
    path = tmp_path / "scores"
    if form == "csv":
        given.to_csv(path, index=False)
    elif form == "parquet":
        given.to_parquet(path)
    read = read_scores(given if form == "frame" else path, SPACE)
    assert read.columns == (column,)
    assert read.scores[column].tolist() == given[column].tolist()
    assert read.left_out == left_out
    assert read.notes[0].startswith(f"taken: column '{column}' of 6 rows, higher is better")
    for name in left_out:
        assert (f"'{name}'" if name else "one without a name") in read.notes[0].partition("left out: ")[2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (table(params=SCORES, synflow=SCORES), r"several numeric columns: 'params', 'synflow'. .*--column NAME"),
        # A wrong value does not make the other column the score.
        (table(accuracy=["0.5", "N/A", "oops", "1", "2", "3"], params=SCORES), "numeric columns: 'accuracy', 'params'"),
        (table(rank=[2, 1, 3, 4, 5, 6]), r"no column that is clearly a score: 'rank' is called so. .*--column"),
        (table(accuracy=ORDER), r"'accuracy' counts the rows"),
        (table(**{"": SCORES}), r"no column that is clearly a score: one without a name\. Say"),
        (table(connected=[True] * 6), "no numeric score column beside 'architecture'"),
        (table(text=list("abcdef")), "no numeric score column beside 'architecture'"),
        (table(score=SCORES, Score=SCORES), "several numeric columns: 'score', 'Score'"),
        (pd.DataFrame({"arch": CELLS, "arch_str": CELLS, "score": SCORES}), "several columns of architectures"),
        (pd.DataFrame({"net": CELLS, "score": SCORES}), r"no column 'architecture'.*Column 'net' holds architectures"),
        (pd.DataFrame({"score": SCORES}, index=range(6)), "no column 'architecture'; its columns are: score"),
    ],
)
def test_columns_that_nobody_can_be_sure_of_are_asked_for(given: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_scores(given, SPACE)


def test_columns_that_are_named_are_taken() -> None:
    given = table(rank=[2, 1, 3, 4, 5, 6], n=ORDER, Accuracy=SCORES)
    assert read_scores(given, SPACE, ["accuracy", "n", "accuracy"]).columns == ("Accuracy", "n")
    assert read_scores(given, SPACE, "rank").columns == ("rank",)
    assert read_scores(given.rename(columns={"n": ""}), SPACE, [""]).columns == ("",)
    with pytest.raises(UnknownName, match="Did you mean 'Accuracy'"):
        read_scores(given, SPACE, ["acuracy"])
    with pytest.raises(UnknownName):
        read_scores(given, SPACE, ["architecture"])
    twice = pd.DataFrame([*zip(CELLS, SCORES, SCORES, strict=True)], columns=["architecture", "a", "a"])
    with pytest.raises(DataError, match="2 columns 'a'"):
        read_scores(twice, SPACE, ["a"])
    with pytest.raises(DataError, match=r"not finite numbers: row 1 \(True\)"):
        read_scores(table(connected=[True] * 6), SPACE, ["connected"])


@pytest.mark.parametrize(
    ("name", "scores", "hint"),
    [
        ("val_loss", SCORES, "looks like a loss"),
        ("NLL", SCORES, "looks like a loss"),
        ("top1 error", SCORES, "looks like a loss"),
        ("rank", SCORES, "looks like places"),
        ("score", [2, 1, 3, 4, 5, 6], "looks like places in a ranking"),
        ("score", SCORES, None),
        ("allowance", SCORES, None),
    ],
)
def test_hints_at_lower_is_better(name: str, scores: list[float], hint: str | None) -> None:
    given = table(**{name: scores})
    higher = read_scores(given, SPACE, [name])
    assert [note for note in higher.notes if "--lower-is-better" in note] == ([higher.notes[1]] if hint else [])
    assert hint is None or hint in higher.notes[1]
    lower = read_scores(given, SPACE, [name], lower_is_better=True)
    assert lower.scores[name].tolist() == [-s for s in scores]
    assert lower.notes == (f"taken: column '{name}' of 6 rows, lower is better",)


def test_other_decisions_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(lines("arch;score", "{};{}").replace(".", ","))
    assert read_scores(path, SPACE).notes[1:] == (
        "architectures: the column 'arch'",
        "commas in numbers were read as decimal commas",
    )


# --- errors -----------------------------------------------------------------------------------------------------------
A, B, C = CELLS[:3]
HEAD = "architecture,score\n"
PLAIN_ERRORS: dict[str, tuple[str | bytes, str]] = {
    "None": (f"{HEAD}{A},None\n{B},1\n", r"1 values of column 'score' are not finite numbers: line 2 \('None'\)\."),
    "N/A": (f"{HEAD}{A},1\n{B},N/A\n", r"line 3 \('N/A'\)"),
    "nan": (f"{HEAD}{A},1\n{B},nan\n", r"line 3 \(nan\)"),
    "empty": (f"{HEAD}{A},1\n{B},\n", r"line 3 \(empty\)"),
    "a number of Python": (f"{HEAD}{A},1\n{B},1_000\n", r"line 3 \('1_000'\)"),
    "thousands": (f'{HEAD}{A},1\n{B},"1,000"\n', r"line 3 \('1,000'\)"),
    "lines are those of the file": (f"# x\n\n{HEAD}# y\n{A},1\n\n{B},x\n", r"line 7 \('x'\)"),
    "unknown, lines of the file": (f"# x\n{HEAD}\n{A},1\n# y\nnonsense,2\n", r"1 of 2 arch.* unknown .*\s+line 6: "),
    "twice, lines of the file": (f"# x\n{HEAD}\n{A},1\n# y\n{B},2\n{A},3\n", r"1 of 3 arch.*\s+line 7 repeats line 4"),
    "many": (
        HEAD + "".join(f"x{i},1\n" for i in range(9)),
        r"9 of 9 architectures are unknown.*(\n.*){5}\n  and 4 more",
    ),
    "no architecture": (f"{HEAD}{A},1\n,2\n", r"1 of 2 architectures are unknown to the space:\s+line 3: "),
    "comma or thousands": (
        f"architecture;score\n{A};1,234\n{B};2\n",
        r"comma of 1,234 in column 'score', line 2, could",
    ),
    "trailing commas": (f"{HEAD}{A},1,\n{B},2,\n", r"2 of 2 rows .* line 2 has 3, line 3 has 3. They end in a ','"),
    "trailing comma of the header": (f"architecture,score,\n{A},1\n{B},2\n", r"line 2 has 2.*The header ends in a ','"),
    "decimal commas among commas": (f"{HEAD}{A},0,1\n{B},0,2\n", r"line 2 has 3.* If they hold decimal commas"),
    "a short row": (f"{HEAD}{A},1\n{B}\n", r"1 of 2 rows do not fit the header, which names 2 .*: line 3 has 1\."),
    "another separator": (f"{HEAD}{A};1\n{B};2\n", r"2 of 2 rows do not fit the header.*separated by ','"),
    "an open quote": (f'{HEAD}{A},1\n"{B},2\n{C},3\n', "a quote that line 3 opens is not closed"),
    "a longer open quote": (f'{HEAD}"{A},1\n' + f"{B},2\n" * 2000, "row that begins in line 2.*quote not closed"),
    "blanks separate": (f"architecture score\n{A} 1\n{B} 2\n", "Columns are separated by commas, semicolons or tabs"),
    "no header": (f"{A},1\n{B},2\n", r"has no header: line 1 is '\|"),
    "no header, indices": ("1,91.5\n2,92\n", "has no header: line 1 is '1,91.5'"),
    "no header, below a comment": (f"# mine\n{A};1\n{B};2\n", r"has no header: line 2 .*'architecture;score'"),
    "one row": (f"{HEAD}{A},1\n", "has 1 rows; a ranking needs at least 2"),
    "a header only": (HEAD, "has 0 rows"),
    "nothing": ("", "cannot be read as a table: it is empty"),
    "blanks only": ("\ufeff \n\n", "cannot be read as a table: it is empty"),
    "comments only": ("# x\n", "holds comments only"),
    "UTF-16": (PLAIN.encode("utf-16"), "UTF-16.*; save it as UTF-8"),
    "UTF-16 without a mark": (PLAIN.encode("utf-16-le"), "UTF-16.*; save it as UTF-8"),
    "Latin-1": (f"{HEAD}{A},1\n{B},é\n".encode("latin-1"), "its text is not UTF-8: byte 0xe9 on line 3"),
    "a spreadsheet": (b"PK\x03\x04 and more", "it is an Excel or ZIP file"),
    "a pickle": (b"\x80\x04 and more", "it is a pickle"),
    "bytes": (b"abc\0def", "it is not text"),
    "Parquet, damaged": (parquet(FRAME)[:-9], "it is damaged Parquet"),
    "gzip, damaged": (gzip.compress(PLAIN.encode())[:-9], "cannot be read as a table"),
    "Parquet: missing": (parquet(table(score=[1, None, 3, 4, 5, 6.0])), r"row 2 \(empty\)"),
    "JSON: cut": (json.dumps(dict(ROWS))[:-9], "cannot be read as JSON: .*line 1 column"),
    "JSON: of Python": (str(dict(ROWS)), "cannot be read as JSON: .*double quotes"),
    "JSON: too deep": ("[" * 100_000, "cannot be read as JSON: it is nested too deeply"),
    "JSON: numbers": ("[1, 2, 3]", "its JSON is neither"),
    "JSON: nothing": ("{}", "its JSON is neither"),
    "JSON: null": (json.dumps({A: None, B: 2}), r"row 1 \(empty\)"),
    "JSON: NaN": (json.dumps({A: 1, B: float("nan")}), r"row 2 \(nan\)"),
    "JSON: true": (json.dumps({A: True, B: 2}), r"row 1 \(True\)"),
    "JSON: too large": (json.dumps({A: 10**400, B: 2}), r"row 1 \(1000"),
    "JSON: twice": (f'{{"{A}": 1, "{B}": 2, "{A}": 3}}', r"entry 3 of an object repeats entry 1: '\|"),
    "JSON: twice in records": (f'[{{"architecture": "{A}", "score": 1, "score": 2}}]', "entry 3 .* repeats entry 2"),
    "JSON: a record lacks its score": (json.dumps([{"arch": A, "score": 1}, {"arch": B}]), r"row 2 \(empty\)"),
    "JSON: columns by architecture, one unknown": (json.dumps({"score": {"x": 1, B: 2}}), r"1 of 2 arch.*\s+row 1: "),
    "JSON: one record": (json.dumps({"architecture": A, "score": 1}), "has 1 rows"),
    "JSON: several scores": (json.dumps({A: [1, 2], B: [3, 4]}), r"row 1 \(\[1, 2\]\)"),
    "JSON: columns of unequal length": (json.dumps({"arch": [A, B], "score": [1]}), "'score' does not have the 2 rows"),
    "JSON: columns of other rows": (
        json.dumps({"arch": {"0": A, "1": B}, "score": {"0": 1, "2": 3}}),
        "'score' does not have the 2 rows",
    ),
    "JSON: columns and values": (json.dumps({"arch": [A, B], "score": 1}), "some columns of its JSON are lists"),
    "JSON: rows of unequal length": (json.dumps([[A, 1], [B, 2, 3]]), "row 2 has 3 values, expected architecture, sc"),
    "a megabyte of architecture": (f"{HEAD}{'x' * 10**6},1\n{A},2\n", "line 2 has 1,000,002 characters"),
    "a megabyte of number": (f"{HEAD}{B},{'1' * 10**6}\n{A},2\n", "line 2 has 1,000,0.. characters"),
    "JSON: a megabyte of architecture": (json.dumps({A: 1, "x" * 10**6: 2}), r"row 2: 'x{99}\.\.\. .* is too long"),
    "JSON: a megabyte of digits": (f'{{"{A}": 1, "{B}": {"1" * 10**6}}}', r"row 2 \('1{99}\.\.\. \(1,000,002 char"),
    "JSON: a megabyte of number": (json.dumps({A: 1, B: "1" * 10**6}), r"row 2 \('1{99}\.\.\. \(1,000,002 characters"),
}


@pytest.mark.parametrize("kind", PLAIN_ERRORS)
def test_errors_say_the_true_reason_and_the_line(tmp_path: Path, kind: str) -> None:
    content, message = PLAIN_ERRORS[kind]
    path = tmp_path / "scores.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message) as caught:
        read_scores(path, SPACE)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; expected a table"):
        read_scores(tmp_path, SPACE)


@pytest.mark.parametrize("given", [{A: 1.0}, FRAME[:1], {}], ids=["dictionary", "frame", "nothing"])
def test_one_score_is_no_ranking(given: pd.DataFrame | dict[str, float]) -> None:
    with pytest.raises(DataError, match="a ranking needs at least 2"):
        read_scores(given, SPACE)


def test_isomorphic_architectures_are_two_rows() -> None:
    by_class: dict[str, list[str]] = {}
    for cell in SPACE.enumerate():
        by_class.setdefault(SPACE.canonical(cell), []).append(SPACE.format(cell))
    same = next(members for members in by_class.values() if len(members) > 1)
    assert len(read_scores(dict.fromkeys(same, 1.0), SPACE).architectures) == len(same)
