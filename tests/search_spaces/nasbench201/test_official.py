"""Official files: tiny ones written in the official layout, and real records where they are at hand."""

from __future__ import annotations

import bz2
import collections
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench201.official import META
from supertau.search_spaces.nasbench201.truth import DATASETS, built_in, load
from supertau.search_spaces.truth import GroundTruth

torch = pytest.importorskip("torch")

SPACE = NASBench201()
CELLS = [SPACE.format(cell) for cell in list(SPACE.enumerate())[:3]]
SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("ori-test", "x-valid", "x-test"),
    "ImageNet16-120": ("ori-test", "x-valid", "x-test"),
}
SEEDS = [[777, 888, 999], [777, 888], [888]]


def accuracy(cell: int, trained_on: str, split: str, seed: int, epochs: int) -> float:
    """A made-up accuracy, different for every combination."""
    place = list(SETS).index(trained_on) * 3 + ("x-valid", "ori-test", "x-test").index(split)
    return 40 + 10 * cell + 0.5 * place + seed / 10000 - 20 * (epochs == 12)


def trial(cell: int, trained_on: str, seed: int, epochs: int) -> dict[str, Any]:
    last = epochs - 1
    evaluated = {f"{split}@{last}": accuracy(cell, trained_on, split, seed, epochs) for split in SETS[trained_on]}
    every = [f"{split}@{epoch}" for split in SETS[trained_on] for epoch in range(epochs)]
    return {
        "name": trained_on,
        "net_state_dict": None,
        "train_acc1es": {last: 99.0},
        "train_acc5es": None,
        "train_losses": {last: 0.1},
        "train_times": collections.OrderedDict((e, 1.0) for e in range(epochs)),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": CELLS[cell], "class_num": 10},
        "params": np.float64(0.3),
        "flop": 40.5,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(0.01)],
        "eval_names": list(SETS[trained_on]),
        "eval_acc1es": {key: np.float64(value) for key, value in evaluated.items()},
        "eval_losses": dict.fromkeys(evaluated, 0.5),
        "eval_times": dict.fromkeys(every, 0.1),
    }


def record(cell: int, epochs: int) -> dict[str, Any]:
    seeds = {name: SEEDS[cell] if epochs == 200 else [111] for name in SETS}
    return {
        "arch_index": cell,
        "arch_str": CELLS[cell],
        "clear_net_done": True,
        "dataset_seed": seeds,
        "all_results": {(name, s): trial(cell, name, s, epochs) for name in SETS for s in reversed(seeds[name])},
    }


def official(keys: tuple[str, str] = ("less", "full")) -> dict[str, Any]:
    infos = {cell: {keys[0]: record(cell, 12), keys[1]: record(cell, 200)} for cell in range(3)}
    return {"meta_archs": CELLS, "total_archs": 3, "evaluated_indexes": set(range(3)), "arch2infos": infos}


def write_nats(folder: Path, content: Any) -> None:
    folder.mkdir()
    index = {"meta_archs": CELLS, "total_archs": 3, "arch2infos": None, "evaluated_indexes": set()}
    (folder / META).write_bytes(bz2.compress(pickle.dumps(index, 4)))
    (folder / "000001.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content, 4)))


@pytest.fixture(scope="module", params=["zip", "legacy"])
def pth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pth") / f"NAS-Bench-201-{request.param}.pth"
    torch.save(official(), path, _use_new_zipfile_serialization=request.param == "zip")
    return path


@pytest.mark.parametrize(
    ("dataset", "split", "trained_on"),
    [
        ("cifar10", "x-valid", "cifar10-valid"),
        ("cifar10", "ori-test", "cifar10"),
        ("cifar100", "x-valid", "cifar100"),
        ("cifar100", "x-test", "cifar100"),
        ("imagenet16-120", "ori-test", "ImageNet16-120"),
    ],
)
def test_pth_gives_each_seed_its_accuracy(pth: Path, dataset: str, split: str, trained_on: str) -> None:
    table = load(SPACE, dataset, pth, split=split)
    assert [SPACE.format(cell) for cell in table.architectures] == CELLS
    assert table.seeds == ("777", "888", "999")
    expected = [
        [accuracy(cell, trained_on, split, seed, 200) if seed in SEEDS[cell] else np.nan for seed in (777, 888, 999)]
        for cell in range(3)
    ]
    np.testing.assert_array_equal(table.trials, expected)
    assert (table.dataset, table.split, table.epochs, table.source) == (dataset, split, 200, pth.name)


def test_pth_agrees_with_the_api_asked_for_200_epochs(pth: Path) -> None:
    from nas_201_api import NASBench201API

    api = NASBench201API(official(), verbose=False)
    table = load(SPACE, "cifar100", pth)
    for row in range(3):
        assert table.mean[row] == api.get_more_info(row, "cifar100", hp="200", is_random=False)["valid-accuracy"]
    assert load(SPACE, "cifar10", pth).mean.argmax() == api.find_best("cifar10", "valid", hp="200")[0]


def test_twelve_epochs_only_when_asked_for(pth: Path) -> None:
    table = load(SPACE, "cifar10", pth, epochs=12)
    assert (table.seeds, table.epochs) == (("111",), 12)
    expected = [[accuracy(cell, "cifar10-valid", "x-valid", 111, 12)] for cell in range(3)]
    np.testing.assert_array_equal(table.trials, expected)


def test_choices_the_benchmark_does_not_have(pth: Path) -> None:
    with pytest.raises(UnknownName, match=r"split of cifar10 'x-test'.*ori-test, x-valid"):
        load(SPACE, "cifar10", pth, split="x-test")
    with pytest.raises(UnknownName, match="12 or 200 epochs, not 90"):
        load(SPACE, "cifar10", pth, epochs=90)


def test_an_architecture_never_trained_on_the_data_set_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = official()
    del content["arch2infos"][1]["full"]["dataset_seed"]["cifar100"]
    for cell in range(3):
        del content["arch2infos"][cell]["less"]["dataset_seed"]["cifar100"]
    path = tmp_path / "part.pth"
    torch.save(content, path)
    table = load(SPACE, "cifar100", path)
    assert [SPACE.format(cell) for cell in table.architectures] == [CELLS[0], CELLS[2]]
    assert table.describe()["source"] == "part.pth (2 of 3 architectures)"
    assert "2 of 3 architectures" in caplog.text
    with pytest.raises(DataError, match="none of its 3 architectures has a result on x-valid after 12 epochs of"):
        load(SPACE, "cifar100", path, epochs=12)


TRIAL = ("arch2infos", 0, "full", "all_results", ("cifar10-valid", 777))


def _change(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    content = official()
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not laid out as expected"),
        ({"meta_archs": CELLS}, "Can not find key"),
        (_change(("meta_archs",), [CELLS[0]] * 3), "already in the dict"),
        (_change(("meta_archs",), [*CELLS[:2], "|conv~0|"]), r"expected the record of architecture 2, \|conv~0\|"),
        (_change(("arch2infos", 0, "full"), None), "not laid out as expected"),
        (_change((*TRIAL, "eval_acc1es"), {}), "seed 777: no result"),
        (_change((*TRIAL, "epochs"), 12), "trial of 12 epochs"),
        (_change((*TRIAL, "eval_acc1es"), {"x-valid@199": 400.0}), "between 0 and 100"),
    ],
)
def test_pth_with_another_layout(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(DataError, match=message):
        load(SPACE, "cifar10", path)


def test_harmful_pth(tmp_path: Path) -> None:
    path, target = tmp_path / "bad.pth", tmp_path / "made"
    torch.save(_change(("arch2infos", 0, "full", "flop"), _Harmful(target)), path)
    with pytest.raises(DataError, match=r"refused to load '\w+\.mkdir'"):
        load(SPACE, "cifar10", path)
    assert not target.exists()
    assert len(load(SPACE, "cifar10", path, trust_pickle=True).architectures) == 3
    assert target.exists()


class _Harmful:
    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


def test_truncated_pth(pth: Path, tmp_path: Path) -> None:
    path = tmp_path / pth.name
    path.write_bytes(pth.read_bytes()[:20000])
    with pytest.raises(DataError, match=r"cannot be read .*expected a NAS-Bench-201 file"):
        load(SPACE, "cifar10", path)


# --- NATS-Bench -------------------------------------------------------------------------------------------------------


def test_nats_folder_with_one_architecture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("nats_bench", reason="nats-bench is not installed")
    write_nats(tmp_path / "NATS-tss", {"12": record(1, 12), "200": record(1, 200)})
    table = load(SPACE, "imagenet16-120", tmp_path / "NATS-tss")
    assert [SPACE.format(cell) for cell in table.architectures] == [CELLS[1]]
    assert table.seeds == ("777", "888")
    assert table.source == "NATS-tss (1 of 3 architectures)"
    assert "1 of 3 architectures" in caplog.text
    twelve = load(SPACE, "imagenet16-120", tmp_path / "NATS-tss", epochs=12)
    assert twelve.trials.tolist() == [[accuracy(1, "ImageNet16-120", "x-valid", 111, 12)]]


def test_nats_single_file(tmp_path: Path) -> None:
    pytest.importorskip("nats_bench", reason="nats-bench is not installed")
    path = tmp_path / "NATS-tss-v1_0.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(official(("12", "200")), 4)))
    table = load(SPACE, "cifar10", path)
    assert len(table.architectures) == 3
    assert table.trials[2, 1] == accuracy(2, "cifar10-valid", "x-valid", 888, 200)


def test_harmful_or_damaged_nats_folders(tmp_path: Path) -> None:
    pytest.importorskip("nats_bench", reason="nats-bench is not installed")
    target = tmp_path / "made"
    write_nats(tmp_path / "bad", {"200": _Harmful(target)})
    with pytest.raises(DataError, match=r"000001\.pickle\.pbz2: refused to load '\w+\.mkdir'"):
        load(SPACE, "cifar10", tmp_path / "bad")
    assert not target.exists()
    write_nats(tmp_path / "cut", {"12": record(1, 12), "200": record(1, 200)})
    file = tmp_path / "cut" / "000001.pickle.pbz2"
    for content in (file.read_bytes()[:-200], b"noise" * 9, b""):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"000001\.pickle\.pbz2.*expected a NATS-Bench pickle"):
            load(SPACE, "cifar10", tmp_path / "cut")
    write_nats(tmp_path / "layout", {"90": {}})
    with pytest.raises(DataError, match="not laid out as expected"):
        load(SPACE, "cifar10", tmp_path / "layout")


# --- which truth it is ------------------------------------------------------------------------------------------------


def identity(truth: GroundTruth) -> tuple[Any, ...]:
    assert truth.sha256 is not None
    assert re.fullmatch(r"[0-9a-f]{64}", truth.sha256)
    return truth.dataset, truth.split, truth.epochs, truth.source, truth.sha256


def test_one_pth_in_two_folders_is_one_truth(pth: Path, tmp_path: Path) -> None:
    copy, other = tmp_path / "copy" / pth.name, tmp_path / "other" / pth.name
    for path in (copy, other):
        path.parent.mkdir()
    shutil.copy(pth, copy)
    torch.save(_change((*TRIAL, "eval_acc1es"), {"x-valid@199": 1.0}), other)
    one = identity(load(SPACE, "cifar10", pth))
    assert identity(load(SPACE, "cifar10", copy)) == one
    assert one[3:] == (pth.name, digest(pth, "sha256"))
    different = identity(load(SPACE, "cifar10", other))
    assert different[:4] == one[:4]
    assert different != one
    assert identity(load(SPACE, "cifar10", pth, split="ori-test")) != one
    assert identity(load(SPACE, "cifar10", pth, epochs=12)) != one


def test_one_nats_folder_in_two_places_is_one_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nats_bench", reason="nats-bench is not installed")
    content = {"12": record(1, 12), "200": record(1, 200)}
    places = [tmp_path / name / "NATS-tss" for name in ("one", "two", "renamed", "changed")]
    for place in places:
        place.parent.mkdir()
        write_nats(place, content)
    (places[2] / "000001.pickle.pbz2").rename(places[2] / "1.pickle.pbz2")
    content["200"]["all_results"]["cifar10-valid", 777] = trial(2, "cifar10-valid", 777, 200)
    (places[3] / "000001.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content, 4)))
    one, two, renamed, changed = (identity(load(SPACE, "cifar10", place)) for place in places)
    assert one == two
    assert one[3] == "NATS-tss (1 of 3 architectures)"
    assert len({one, renamed, changed}) == 3
    assert one[:4] == renamed[:4] == changed[:4]
    monkeypatch.chdir(places[0])
    assert identity(load(SPACE, "cifar10", Path())) == one  # a folder that is given without its name


def test_the_checksum_of_a_single_nats_file_is_that_of_its_content(tmp_path: Path) -> None:
    pytest.importorskip("nats_bench", reason="nats-bench is not installed")
    path = tmp_path / "NATS-tss-v1_0.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(official(("12", "200")), 4)))
    assert identity(load(SPACE, "cifar10", path))[3:] == (path.name, digest(path, "sha256"))


@pytest.fixture(scope="module")
def real() -> Path:
    pytest.importorskip("nats_bench", reason="nats-bench is not installed")
    root = os.environ.get("SUPERTAU_DATA")
    folder = Path(root or "") / "nb201" / "nats_fixture" / "NATS-tss-v1_0-3ffb9-simple"
    if not root or not folder.is_dir():
        pytest.skip("SUPERTAU_DATA names no folder with nb201/nats_fixture (the test records of NATS-Bench)")
    return folder


@pytest.mark.parametrize("dataset", DATASETS)
def test_real_nats_records_equal_the_built_in_table(real: Path, dataset: str) -> None:
    table, whole = load(SPACE, dataset, real), built_in(SPACE, dataset)
    assert whole.rows(table.architectures).tolist() == [0, 11, 284]
    assert table.seeds == whole.seeds
    np.testing.assert_array_equal(table.trials, whole.trials[[0, 11, 284]])


def test_real_nats_records_through_the_real_api(real: Path) -> None:
    import nats_bench

    api = nats_bench.create(str(real), "tss", fast_mode=True, verbose=False)  # these records are known, so trusted
    for dataset, name, split, key in (
        ("cifar10", "cifar10-valid", "x-valid", "valid-accuracy"),
        ("cifar10", "cifar10", "ori-test", "test-accuracy"),
        ("cifar100", "cifar100", "x-valid", "valid-accuracy"),
        ("cifar100", "cifar100", "x-test", "test-accuracy"),
    ):
        table = load(SPACE, dataset, real, split=split)
        asked = [api.get_more_info(i, name, hp="200", is_random=False)[key] for i in (0, 11, 284)]
        np.testing.assert_allclose(table.mean, asked, rtol=1e-15)


def test_real_nats_values(real: Path) -> None:
    assert load(SPACE, "cifar10", real).mean[0] == pytest.approx(81.983, abs=5e-4)
    assert load(SPACE, "cifar10", real, split="ori-test").mean[0] == pytest.approx(85.863, abs=5e-4)
    assert load(SPACE, "cifar100", real).mean[0] == pytest.approx(52.70, abs=5e-3)
    assert load(SPACE, "cifar100", real, split="x-test").mean[0] == pytest.approx(52.913, abs=5e-3)
    assert load(SPACE, "cifar10", real, epochs=12).seeds == ("111", "777")


# --- records in the wrong place ---------------------------------------------------------------------------------------


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    pytest.importorskip("nats_bench", reason="nats-bench is not installed")
    folder = tmp_path / "NATS-tss"
    write_nats(folder, None)
    for cell in range(3):
        content = {"12": record(cell, 12), "200": record(cell, 200)}
        (folder / f"{cell:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content, 4)))
    return folder


def test_the_whole_folder_is_read(whole: Path) -> None:
    assert [SPACE.format(cell) for cell in load(SPACE, "cifar10", whole).architectures] == CELLS


@pytest.mark.parametrize("epochs", [12, 200])
def test_files_that_were_swapped_or_copied_are_not_read_for_the_wrong_cells(whole: Path, epochs: int) -> None:
    one, two = (whole / f"00000{cell}.pickle.pbz2" for cell in (1, 2))
    content = two.read_bytes()
    two.write_bytes(one.read_bytes())
    with pytest.raises(DataError, match=r"000002\.pickle\.pbz2: expected the record of architecture 2, .* 1, "):
        load(SPACE, "cifar10", whole, epochs=epochs)
    one.write_bytes(content)
    with pytest.raises(DataError, match=r"000001\.pickle\.pbz2: expected the record of architecture 1, .* 2, "):
        load(SPACE, "cifar10", whole, epochs=epochs)


@pytest.mark.parametrize(("key", "value"), [("arch_index", 0), ("arch_str", CELLS[0])])
def test_a_record_has_the_index_and_the_architecture_of_its_file(whole: Path, key: str, value: Any) -> None:
    content = {"12": record(1, 12), "200": {**record(1, 200), key: value}}
    (whole / "000001.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content, 4)))
    with pytest.raises(DataError, match=r"000001\.pickle\.pbz2: expected the record of architecture 1"):
        load(SPACE, "cifar10", whole)


def test_two_files_of_one_architecture(whole: Path) -> None:
    shutil.copy(whole / "000001.pickle.pbz2", whole / "1.pickle.pbz2")
    with pytest.raises(DataError, match=r"1\.pickle\.pbz2: architecture 1 is in 000001\.pickle\.pbz2 already"):
        load(SPACE, "cifar10", whole)


def test_another_index_does_not_rename_the_cells(whole: Path) -> None:
    index = {"meta_archs": CELLS[::-1], "total_archs": 3, "arch2infos": None, "evaluated_indexes": set()}
    (whole / META).write_bytes(bz2.compress(pickle.dumps(index, 4)))
    with pytest.raises(DataError, match=r"000000\.pickle\.pbz2: expected the record of architecture 0"):
        load(SPACE, "cifar10", whole)


def test_swapped_records_in_single_files(tmp_path: Path) -> None:
    for name, keys in (("swapped.pth", ("less", "full")), ("swapped.pickle.pbz2", ("12", "200"))):
        content = official(keys)
        infos = content["arch2infos"]
        infos[0], infos[2] = infos[2], infos[0]
        if name.endswith(".pth"):
            torch.save(content, tmp_path / name)
        else:
            pytest.importorskip("nats_bench", reason="nats-bench is not installed")
            (tmp_path / name).write_bytes(bz2.compress(pickle.dumps(content, 4)))
        with pytest.raises(DataError, match=rf"{name}, architecture 0: expected the record of architecture 0, .* 2, "):
            load(SPACE, "cifar10", tmp_path / name)


def test_real_records_that_were_swapped(real: Path, tmp_path: Path) -> None:
    folder = tmp_path / real.name
    shutil.copytree(real, folder, copy_function=shutil.copyfile)
    (folder / "000011.pickle.pbz2").rename(folder / "000012.pickle.pbz2")
    with pytest.raises(DataError, match=r"000012\.pickle\.pbz2: expected the record of architecture 12, .* 11, "):
        load(SPACE, "cifar10", folder)


# --- which truth is asked for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "split", "dataset", "read", "trained_on"),
    [
        ("cifar10", None, "cifar10", "x-valid", "cifar10-valid"),
        ("cifar10-valid", None, "cifar10", "x-valid", "cifar10-valid"),
        ("CIFAR10-VALID", "x-valid", "cifar10", "x-valid", "cifar10-valid"),
        ("CIFAR-10", "ori-test", "cifar10", "ori-test", "cifar10"),
        ("cifar-10", "test", "cifar10", "ori-test", "cifar10"),
        ("CIFAR_100", "valid", "cifar100", "x-valid", "cifar100"),
        ("ImageNet16-120", "x-test", "imagenet16-120", "x-test", "ImageNet16-120"),
        ("imagenet16", None, "imagenet16-120", "x-valid", "ImageNet16-120"),
    ],
)
def test_names_that_people_type_lead_to_the_right_truth(
    pth: Path, asked: str, split: str | None, dataset: str, read: str, trained_on: str
) -> None:
    truth = SPACE.truth(asked, pth, split=split)
    assert (truth.dataset, truth.split, truth.epochs) == (dataset, read, 200)
    assert truth.trials[0, 0] == accuracy(0, trained_on, read, 777, 200)
    twelve = SPACE.truth(asked, pth, split=split, epochs=12)
    assert (twelve.epochs, twelve.trials[0, 0]) == (12, accuracy(0, trained_on, read, 111, 12))


def test_networks_trained_on_half_of_the_images_are_not_those_of_the_test_accuracy(pth: Path) -> None:
    for split in ("ori-test", "test"):
        with pytest.raises(DataError, match=r"'cifar10-valid' names the networks trained on half .*'x-valid', not"):
            SPACE.truth("cifar10-valid", pth, split=split)


def test_test_alone_is_not_enough_where_there_are_two(pth: Path) -> None:
    for dataset in ("cifar100", "imagenet16-120"):
        with pytest.raises(UnknownName, match=f"split 'test' of {dataset} may be 'ori-test', .* 'x-test', .*say which"):
            SPACE.truth(dataset, pth, split="test")


def test_epochs_of_zero_are_not_the_usual_ones(pth: Path) -> None:
    with pytest.raises(UnknownName, match="12 or 200 epochs, not 0"):
        SPACE.truth("cifar10", pth, epochs=0)
    with pytest.raises(DataError, match="not x-valid after 0"):
        SPACE.truth("cifar10", epochs=0)
