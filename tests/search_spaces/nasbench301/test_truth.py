"""Which ground truth is found where, and the table of surrogate values."""

from __future__ import annotations

import csv
import gzip
import importlib.resources
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from supertau.search_spaces import table
from supertau.search_spaces.errors import DataError, UnknownName
from supertau.search_spaces.nasbench301 import truth
from supertau.search_spaces.nasbench301.space import DARTS
from supertau.search_spaces.nasbench301.surrogate import OwnSurrogate
from supertau.search_spaces.nasbench301.truth import load
from supertau.search_spaces.truth import GroundTruth

SPACE = DARTS()
_RNG = np.random.default_rng(0)
SOME = [SPACE.sample(_RNG) for _ in range(4)]
HEADER = ["genotype", "nb301_surrogate_acc", "flops_c16_l8"]


def write_pool(path: Path, rows: list[tuple[str, object]], header: list[str] = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows([header, *([text, value, 1] for text, value in rows)])
    return path


def write_models(folder: Path, kind: str = "xgb") -> Path:
    """Write an ensemble of one small model in the official layout."""
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed: pip install 'supertau[nb301]'")
    member = folder / "0"
    member.mkdir(parents=True)
    rows = np.random.default_rng(0).normal(size=(20, 56))
    xgboost.train({"base_score": 90}, xgboost.DMatrix(rows, label=90 + rows[:, 0]), 2).save_model(
        member / "surrogate_model.json"
    )
    (member / "model_config.json").write_text(json.dumps({"model": kind}))
    (member / "data_config.json").write_text(json.dumps({"seed": 1}))
    return folder


def as_table(rows: list[tuple[int, ...]]) -> GroundTruth:
    trials = np.linspace(80, 90, len(rows)).reshape(-1, 1)
    return GroundTruth(SPACE.name, "micro", "val", 3, "trained", None, tuple(rows), trials, ("0",))


# --- which truth it is ------------------------------------------------------------------------------------------------


def identity(truth: GroundTruth) -> tuple[object, ...]:
    assert truth.sha256 is not None
    assert len(truth.sha256) == 64
    return truth.dataset, truth.split, truth.epochs, truth.source, truth.sha256


def test_one_pool_in_two_folders_is_one_truth(tmp_path: Path) -> None:
    rows = [(SPACE.format(SOME[0]), 94.5)]
    paths = [write_pool(tmp_path / name / "pool.csv", rows) for name in ("one", "two", "other")]
    for path in paths:
        path.write_bytes(gzip.decompress(path.read_bytes()))
    paths[2].write_text(paths[2].read_text().replace("94.5", "94.6"))
    one, two, other = (identity(SPACE.truth("cifar10", path).table(SOME[:1])) for path in paths)
    assert one == two != other
    assert one[:4] == other[:4]


def test_one_surrogate_in_two_folders_is_one_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [write_models(tmp_path / name / "xgb_v1.0") for name in ("one", "two", "other")]
    model = folders[2] / "0" / "surrogate_model.json"
    model.write_bytes(model.read_bytes() + b"\n")
    one, two, other = (identity(OwnSurrogate(folder).table(SOME)) for folder in folders)
    assert one == two != other
    assert one[:4] == other[:4]
    monkeypatch.chdir(folders[0])
    assert identity(OwnSurrogate(Path()).table(SOME)) == one  # a folder that is given without its name


# --- the pool ---------------------------------------------------------------------------------------------------------


def test_duplicates_in_the_pool_become_one_row(tmp_path: Path) -> None:
    rows = [(SPACE.format(SOME[i]), value) for i, value in ((0, 94.5), (1, 93.25), (0, 94.5), (2, 90.125))]
    found = load(SPACE, "cifar10", write_pool(tmp_path / "pool.csv.gz", rows))
    assert isinstance(found, GroundTruth)
    assert found.architectures == tuple(SOME[:3])
    assert found.trials.tolist() == [[94.5], [93.25], [90.125]]
    assert (found.split, found.epochs, found.seeds) == ("val (surrogate)", 100, ("surrogate",))
    assert found.source == "NAS-Bench-301 surrogate values, pool.csv.gz"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(SPACE.format(SOME[0]), 94.5), (SPACE.format(SOME[0]), 94.6)], r"line 3: 94\.6 for .* has 94\.5 on line 2"),
        ([(SPACE.format(SOME[0]), "much")], "line 2: could not convert"),
        ([("normal_0=[]", 94.5)], "line 2: nasbench301"),
        ([(SPACE.format(SOME[0]), 945.0)], "between 0 and 100"),
        ([], "there is none at all"),
    ],
)
def test_a_pool_that_is_wrong(tmp_path: Path, rows: list[tuple[str, object]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(SPACE, "cifar10", write_pool(tmp_path / "pool.csv.gz", rows))


def test_a_pool_without_its_column_or_its_end(tmp_path: Path) -> None:
    path = write_pool(tmp_path / "pool.csv.gz", [(SPACE.format(SOME[0]), 94.5)], ["genotype", "accuracy", "flops"])
    with pytest.raises(DataError, match=r"no columns 'genotype' and 'nb301_surrogate_acc'; it has: genotype, accuracy"):
        load(SPACE, "cifar10", path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="is the file complete"):
        load(SPACE, "cifar10", path)


def test_the_real_pool(real_file: Callable[[str], Path]) -> None:
    found = truth.read_pool(real_file("nb301/nb301_5896.csv.gz"), SPACE)
    assert len(found.architectures) == 5468
    assert found.source.startswith("NAS-Bench-301 surrogate values, pool of Ning et al. 2021")
    assert found.mean[:2].tolist() == [94.65709, 94.63228]
    assert (found.mean.min(), found.mean.max()) == (83.14308, 94.79771)


# --- where it is looked for -------------------------------------------------------------------------------------------


def test_models_in_the_cache_folder_come_before_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERTAU_DATA", str(tmp_path))
    write_pool(tmp_path / "nb301" / truth.POOL, [(SPACE.format(SOME[0]), 94.5)])
    found = load(SPACE, "cifar10")
    assert isinstance(found, GroundTruth)
    assert found.mean.tolist() == [94.5]
    write_models(tmp_path / "nb301" / "mine")
    for place in ("mine", "nb_models/xgb_v0.9", "nb_models/xgb_v1.0"):
        if place != "mine":
            write_models(tmp_path / "nb301" / place)
        surrogate = load(SPACE, "cifar10")
        assert isinstance(surrogate, OwnSurrogate)
        expected = tmp_path / "nb301" / ("" if place == "mine" else place)
        assert surrogate.ensemble.folder == expected
    assert surrogate.table(SOME).architectures == tuple(SOME)


def test_without_files_the_message_says_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERTAU_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        load(SPACE, "cifar10")
    for part in (
        "https://ndownloader.figshare.com/files/24992018",
        "1,848,669,012 bytes",
        "sha256 e807411d6a454841965d3157a977896683b716dc48743049bd6be0ce94210824, which a third party gives",
        str(tmp_path / "nb301"),
        "'micro' needs no download",
    ):
        assert part in str(caught.value)


def test_the_built_in_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.resources, "files", lambda name: tmp_path)
    with pytest.raises(DataError, match=r"tables/nasbench301-micro\.parquet: the ground truth 'micro' of nasbench301"):
        load(SPACE, "micro")
    table.write_table(as_table(SOME), tmp_path / "tables" / "nasbench301-micro.parquet", SPACE)
    found = load(SPACE, "micro")
    assert isinstance(found, GroundTruth)
    assert found.architectures == tuple(SOME)
    assert (found.dataset, found.epochs, found.source) == ("micro", 3, "trained")


def test_a_folder_is_read_by_either_reader(tmp_path: Path) -> None:
    folder = write_models(tmp_path / "xgb_v1.0")
    assert isinstance(load(SPACE, "cifar10", folder), OwnSurrogate)
    assert isinstance(SPACE.truth("cifar10", folder), OwnSurrogate)
    with pytest.raises(DataError, match="reads pickled models only"):
        load(SPACE, "cifar10", folder, reader="package")
    with pytest.raises(UnknownName, match="reader 'theirs'"):
        load(SPACE, "cifar10", folder, reader="theirs")
    with pytest.raises(DataError, match="predict accuracies on cifar10, not on 'micro'"):
        load(SPACE, "micro", folder)


def test_tables_of_the_suite(tmp_path: Path) -> None:
    for name in ("own.csv", "own.csv.gz", "own.parquet"):
        table.write_table(as_table(SOME), tmp_path / name, SPACE)
        found = load(SPACE, "micro", tmp_path / name)
        assert isinstance(found, GroundTruth)
        assert found.architectures == tuple(SOME)


def test_names_and_paths_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="data set 'cifar100'"):
        load(SPACE, "cifar100")
    with pytest.raises(DataError, match="no such file or folder"):
        load(SPACE, "cifar10", tmp_path / "absent.csv")
    (tmp_path / "notes.txt").write_text("-")
    with pytest.raises(DataError, match="not a kind of ground truth"):
        load(SPACE, "cifar10", tmp_path / "notes.txt")


def test_what_there_is_can_be_asked_for_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "pool.csv.gz"
    write_pool(path, [(SPACE.format(SOME[0]), 94.5)])
    for name in ("cifar10", "CIFAR-10"):
        assert SPACE.truth(name, path, split="val (surrogate)", epochs=100).table(()).dataset == "cifar10"
    with pytest.raises(DataError, match=r"split 'val \(surrogate\)' after 100 epochs only, not of split 'test'\."):
        SPACE.truth("cifar10", path, split="test")
    with pytest.raises(DataError, match="not of 200 epochs"):
        SPACE.truth("cifar10", path, epochs=200)
    with pytest.raises(DataError, match="the table says its epochs is"):
        SPACE.truth("micro", epochs=100_000)


def test_a_pool_with_shifted_numbers_of_operations(tmp_path: Path) -> None:
    rows = [("(" + ", ".join([str(((0, 3), (1, 2)) * 4)] * 2) + ")", 94.0)]
    rows.append((rows[0][0].replace("(1, 2)", "(1, 7)"), 95.0))
    write_pool(tmp_path / "pool.csv.gz", rows)
    with pytest.raises(DataError, match=r"pool\.csv\.gz, line 3: .*operation number 7 .*1 of the 2 rows .*off-by-one"):
        SPACE.truth("cifar10", tmp_path / "pool.csv.gz")
