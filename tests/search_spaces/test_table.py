"""Plain tables: round trips, and errors that name the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench201.truth import load
from supertau.search_spaces.spaces import SPACES, get_space
from supertau.search_spaces.table import SUFFIXES, read_table, write_table
from supertau.search_spaces.truth import GroundTruth

SPACE = NASBench201()
CELLS = tuple(SPACE.enumerate())[:3]
ONE, TWO, THREE = (SPACE.format(cell) for cell in CELLS)


def ground_truth(seeds: tuple[str, ...] = ("777", "888")) -> GroundTruth:
    trials = np.array([[91.2, 100 / 3], [np.nan, 10.0], [0.1 + 0.2, 55.5]])[:, : len(seeds)]
    if len(seeds) == 1:
        trials[1] = 7
    return GroundTruth("nasbench201", "cifar10", "x-valid", 200, "somebody", "ab" * 32, CELLS, trials, seeds)


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("seeds", [("777", "888"), ("accuracy",)])
def test_round_trip(tmp_path: Path, suffix: str, seeds: tuple[str, ...]) -> None:
    path, truth = tmp_path / "deep" / f"table{suffix}", ground_truth(seeds)
    write_table(truth, path, SPACE)
    read = load(SPACE, "cifar10", path)
    np.testing.assert_array_equal(read.trials, truth.trials)
    assert (read.architectures, read.seeds, read.sha256) == (CELLS, seeds, digest(path, "sha256"))
    assert (read.split, read.epochs, read.source) == ("x-valid", 200, "somebody")
    first = path.read_bytes()
    write_table(truth, path, SPACE)
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_table_in_two_folders_is_one_truth(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / name / f"table{suffix}" for name in ("one", "two", "other")]
    for path, seeds in zip(paths, (("777", "888"), ("777", "888"), ("777", "999")), strict=True):
        write_table(ground_truth(seeds), path, SPACE)
    one, two, other = (_identity(load(SPACE, "cifar10", path)) for path in paths)
    assert one == two != other
    assert one[:4] == other[:4]


def test_a_table_that_does_not_name_its_source_is_called_by_its_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (write(tmp_path / name / "mine.csv", f"architecture,accuracy\n{ONE},50\n") for name in ("one", "two"))
    assert _identity(load(SPACE, "cifar10", one)) == _identity(load(SPACE, "cifar10", two))
    assert load(SPACE, "cifar10", one).source == "mine.csv"


@pytest.mark.parametrize(
    ("name", "dataset"), [(name, dataset) for name in SPACES for dataset in get_space(name).truths]
)
def test_built_in_truths_have_a_checksum(name: str, dataset: str) -> None:
    truth = get_space(name).truth(dataset)
    assert isinstance(truth, GroundTruth)
    assert _identity(truth) == _identity(get_space(name).truth(dataset).table(()))
    assert len(str(truth.sha256)) == 64


def _identity(truth: GroundTruth) -> tuple[object, ...]:
    return truth.dataset, truth.split, truth.epochs, truth.source, truth.sha256


def test_a_name_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in \.csv, \.csv\.gz, \.parquet"):
        write_table(ground_truth(), tmp_path / "table.xlsx", SPACE)


def test_a_hand_made_table(tmp_path: Path) -> None:
    text = f"\ufeffrank, architecture,accuracy_a,seed_b\n1,{ONE},12.5,\n\n2,{TWO},nan,90\n"
    path = write(tmp_path / "mine.csv", text)
    read = read_table(path, SPACE, "cifar10", split="x-valid", epochs=50)
    np.testing.assert_array_equal(read.trials, [[12.5, np.nan], [np.nan, 90]])
    assert (read.seeds, read.architectures) == (("a", "b"), CELLS[:2])
    assert (read.split, read.epochs, read.source) == ("x-valid", 50, "mine.csv")
    assert read_table(path, SPACE, "cifar10").split == "not stated"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'architecture'. The table has: no columns"),
        ("arch,accuracy\n", "no column 'architecture'. The table has: arch, accuracy"),
        ("architecture,acc\n", "no column 'accuracy', 'seed_<name>' or .* The table has: architecture, acc"),
        ("architecture,accuracy\n", "no rows"),
        ("architecture,accuracy,accuracy\n", "stands twice"),
        ("architecture,accuracy,seed_1\n", "not both"),
        ("architecture,accuracy_1,seed_1\n", "two columns for the seed '1'"),
        (f"architecture,accuracy\n{ONE},5\n|conv~0|,5\n", r"line 3: nasbench201: cannot read '\|conv~0\|'"),
        (f"architecture,accuracy\n{TWO.replace('skip_connect', 'skip_conect')},5\n", "Did you mean 'skip_connect'"),
        (f"# note\narchitecture,accuracy\n{ONE},5\n{TWO},6\n{ONE},5\n", r"line 5: .* stands on line 3 already"),
        (f"architecture,accuracy\n{ONE},0.5\n{TWO},0.91\n", "look like fractions; percentages are expected"),
        (f"architecture,accuracy\n{ONE},five\n", "line 2, column 'accuracy': 'five' is not a number"),
        (f"architecture,accuracy\n{ONE},101\n", "line 2, column 'accuracy': 101 is not a percentage"),
        (f"architecture,accuracy\n{ONE},inf\n", "not a percentage"),
        (f"architecture,seed_1,seed_2\n{ONE},,nan\n", "line 2: no accuracy for"),
        (f"architecture,accuracy\n{ONE},5\n{TWO}", r"line 3: 1 values, expected 2 \(architecture, accuracy\)"),
        ('# supertau {"dataset": "cifar100"}\narchitecture,accuracy\n', "its dataset is 'cifar100', not 'cifar10'"),
        ('# supertau {"space": "darts"}\narchitecture,accuracy\n', "says its space is 'darts', not 'nasbench201'"),
        ('# supertau {"architectures": 9}\narchitecture,accuracy\n' + f"{ONE},5\n", "1 rows of 9; .* truncated"),
        ("# supertau {", "description is JSON"),
        ("# supertau []", "not a JSON object"),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "bad.csv", text), SPACE, "cifar10")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_is_held_to_what_it_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    write_table(ground_truth(), path, SPACE)
    with pytest.raises(DataError, match="says its split is 'x-valid', not 'x-test'"):
        load(SPACE, "cifar10", path, split="x-test")
    with pytest.raises(DataError, match="says its dataset is 'cifar10', not 'cifar100'"):
        load(SPACE, "cifar100", path)


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    write_table(ground_truth(), path, SPACE)
    for content in (path.read_bytes()[:-30], b"", b"noise" * 20):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"table\.\S+: (cannot be read as|no column)"):
            read_table(path, SPACE, "cifar10")


def test_parquet_errors_name_the_row(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"architecture": [ONE, TWO, ONE], "accuracy": [5, 6.5, 7]}), path)
    with pytest.raises(DataError, match=r"row 3: .* stands on row 1 already"):
        read_table(path, SPACE, "cifar10")
    pq.write_table(pa.table({"architecture": [ONE, None], "accuracy": [5, 6.5]}), path)
    with pytest.raises(DataError, match="row 2: the value is empty"):
        read_table(path, SPACE, "cifar10")


def test_an_unreadable_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(b"architecture,accuracy\n\xff\xfe,5\n")
    with pytest.raises(DataError, match=r"latin\.csv: its text is not UTF-8: byte 0xff on line 2"):
        read_table(path, SPACE, "cifar10")
