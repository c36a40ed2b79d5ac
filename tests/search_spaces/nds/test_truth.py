"""Readers of NDS: official files, real and written here, pools, and where ground truth is looked for."""

import copy
import gzip
import json

import numpy as np
import pytest

from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError, UnknownName
from supertau.search_spaces.nds.official import is_pool, read_official, read_pool, read_trainings
from supertau.search_spaces.nds.space import NDSResNet, NDSResNeXtA, NDSResNeXtB, NDSVanilla
from supertau.search_spaces.nds.truth import load
from supertau.search_spaces.table import write_table

RESNET, RESNEXT_A, RESNEXT_B, VANILLA = NDSResNet(), NDSResNeXtA(), NDSResNeXtB(), NDSVanilla()


def job(text="d12-12-12_w24-24-40", best=6.42, last=6.51, seed=1, space=RESNET, **net):
    """Return a training in the official layout; by default a row of NNI's documentation (best 93.58, final 93.49)."""
    values = space.values(space.parse(text))
    return {
        "job_id": "1",
        "rng_seed": seed,
        "params": 1,
        "flops": 2,
        "net": {
            "block_type": space.official_block,
            "ds": [1, *values["d"]],
            "ws": [16, *values["w"]],
            "ss": [1, 1, 2, 2],
            "bot_muls": [0.0, *values["b"]] if "b" in values else [],
            "num_gs": [1, *values["g"]] if "g" in values else [],
            **net,
        },
        "optim": {"base_lr": 0.1, "wd": 0.0005, "mom": 0.9, "lr_policy": "cos", "iter_lr": False, "max_ep": 3},
        "min_test_top1": best,
        "test_ep_top1": [90.0, best, last],
        "train_ep_top1": [],
    }


def written(folder, content, name="ResNet.json"):
    path = folder / name
    path.write_text(json.dumps(content))
    return path


# --- which truth it is ------------------------------------------------------------------------------------------------


def identity(truth):
    assert len(truth.sha256) == 64
    return truth.dataset, truth.split, truth.epochs, truth.source, truth.sha256


def test_one_official_file_in_two_folders_is_one_truth(tmp_path):
    folders = [tmp_path / name for name in ("one", "two", "other")]
    for folder, best in zip(folders, (5.0, 5.0, 6.0), strict=True):
        folder.mkdir()
        for number in (1, 2, 3):
            written(folder, [job(best=best, seed=number)], f"ResNet_rng{number}.json")
    single = [identity(RESNET.truth("cifar10", folder / "ResNet_rng1.json")) for folder in folders]
    several = [identity(RESNET.truth("cifar10", folder)) for folder in folders]
    for one, two, other in (single, several):
        assert one == two != other
        assert one[:4] == other[:4]
    assert single[0] != several[0]


def test_one_pool_in_two_folders_is_one_truth(tmp_path):
    paths = [tmp_path / name / "resnet_5k.csv" for name in ("one", "two", "other")]
    for path, row in zip(paths, (ROW, ROW, ROW.rpartition(",")[0] + ",50"), strict=True):
        path.parent.mkdir()
        path.write_text(f"{HEADER}\n{row}\n")
    one, two, other = (identity(RESNET.truth("cifar10", path)) for path in paths)
    assert one == two != other
    assert one[:4] == other[:4]


# --- official files -------------------------------------------------------------------------------------------------


def test_errors_become_accuracies_of_the_best_or_the_last_epoch(tmp_path):
    """The second row is NNI's of ResNeXt-A: best 90.48, final 90.39."""
    path = written(tmp_path, [job(), job("d1-2-3_w16-16-256", 7.0, 8.0)])
    best, last = (read_official([path], RESNET, "cifar10", which=which) for which in ("best", "last"))
    assert best.trials.tolist() == [[93.58], [93.0]]
    assert last.trials.tolist() == [[93.49], [92.0]]
    assert [RESNET.format(a) for a in best.architectures] == ["d12-12-12_w24-24-40", "d1-2-3_w16-16-256"]
    assert (best.dataset, best.split, best.epochs, best.chance, best.seeds) == ("cifar10", "test", 3, 10.0, ("1",))
    assert best.sha256 == digest(path, "sha256")
    assert best.source == "NDS ResNet.json (facebookresearch/nds), best epoch"
    text = "d16-1-4_w64-128-16_b0.25-0.25-0.25_g2-1-2"
    path = written(tmp_path, [job(text, 9.52, 9.61, space=RESNEXT_A)], "ResNeXt-A.json")
    best, last = (read_official([path], RESNEXT_A, "cifar10", which=which) for which in ("best", "last"))
    assert (best.trials.tolist(), last.trials.tolist()) == ([[90.48]], [[90.39]])
    assert best.architectures == (RESNEXT_A.parse(text),)


@pytest.mark.parametrize("space", [RESNET, RESNEXT_A, RESNEXT_B, VANILLA], ids=lambda space: space.name)
def test_each_space_reads_its_file(space, tmp_path):
    architecture = space.sample(np.random.default_rng(0))
    path = written(tmp_path, [job(space.format(architecture), space=space)], f"{space.official}.json")
    truth = space.truth("cifar10", path)
    assert truth.architectures == (architecture,)
    assert truth.space == space.name


def test_a_network_that_comes_again_is_another_trial_in_order_of_seeds(tmp_path):
    other = "d1-1-1_w16-16-16"
    path = written(tmp_path, [job(best=5.0, seed=3), job(other, best=8.0, seed=1), job(best=6.0, seed=1)])
    truth = read_official([path], RESNET, "cifar10")
    assert [RESNET.format(a) for a in truth.architectures] == ["d12-12-12_w24-24-40", other]
    np.testing.assert_array_equal(truth.trials, [[94.0, 95.0], [92.0, np.nan]])
    assert truth.seeds == ("1", "3")
    path = written(tmp_path, [job(best=5.0, seed=3), job(best=5.0, seed=4), job(other, seed=1), job(other, seed=2)])
    assert read_official([path], RESNET, "cifar10").seeds == ("trial-1", "trial-2")  # no seed of a whole column


@pytest.mark.parametrize("seeds", [(1, 2, 3), (1, 1, 1)])
def test_several_files_are_one_column_each(tmp_path, seeds):
    one, two = "d1-1-1_w16-16-16", "d1-1-2_w16-16-16"
    paths = [
        written(
            tmp_path,
            [job(one, best=5.0 + file, seed=seed), *([job(two, best=7.0, seed=seed)] if file != 1 else [])],
            f"{file}.json",
        )
        for file, seed in enumerate(seeds)
    ]
    truth = read_official(paths, RESNET, "cifar10")
    np.testing.assert_array_equal(truth.trials, [[95, 94, 93], [93, np.nan, 93]])
    assert truth.seeds == (("1", "2", "3") if seeds == (1, 2, 3) else ("trial-1", "trial-2", "trial-3"))


WRONG = {
    "not a job": (5, r"no 'net'; it holds 5"),
    "keys": ({"net": {}}, r"no 'block_type'; it holds keys"),
    "another block": (job(space=VANILLA), r"block_type is 'double_plain_block'; those of ResNet are 'res_basic_block'"),
    "ImageNet": (job(ss=[4, 1, 2, 2, 2]), r"the stem's stride is 4: a network for ImageNet; CIFAR-10's have 1"),
    "stages": (job(ds=[1, 2, 3]), r"ds is \[1, 2, 3\]; expected 4 numbers, stem first"),
    "without the stem": (
        job(ws=[24, 24, 40, 40]),
        r"ss, ds\[0\] and ws\[0\] are .* 24; expected \[1, 1, 2, 2\], 1 and 16",
    ),
    "bottleneck": (job(bot_muls=[0, 1, 1, 1]), r"bot_muls is .*; expected 0 numbers"),
    "off the grid": (job(ws=[16, 24, 20, 40]), r"nds-resnet: width 20 of stage 2 is not on the grid 16, 24"),
    "text": (job(ds=[1, "2", 3, 4]), r"'ds' is .*; expected numbers"),
    "error": (job(best=101.0), r"min_test_top1 is 101.0; expected an error in percent"),
    "not a number": (job(best=float("nan")), r"min_test_top1 is nan"),
    "no epochs": ({**job(), "test_ep_top1": []}, r"test_ep_top1 is empty"),
    "no seed": ({k: v for k, v in job().items() if k != "rng_seed"}, r"no 'rng_seed'; it holds keys job_id, params"),
    "truth value": ({**job(), "rng_seed": True}, r"'rng_seed' is True; expected int"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_entry_is_named_with_what_is_there_and_what_was_expected(name, tmp_path):
    entry, message = WRONG[name]
    path = written(tmp_path, [job(), entry])
    with pytest.raises(DataError, match=rf"ResNet\.json, entry 1: {message}"):
        read_trainings(path, RESNET)
    path = written(tmp_path, {"top": [job()], "mid": [entry]}, "ResNet_reruns.json")
    with pytest.raises(DataError, match=rf"ResNet_reruns\.json, entry 0 of 'mid': {message}"):
        read_trainings(path, RESNET)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"net": {', r"ResNet\.json: cannot be read as JSON .*is the file complete\?"),
        ("\x00", r"cannot be read as JSON"),
        ("[]", r"holds no trainings"),
        ("{}", r"holds keys ; expected a list of trainings"),
        ('{"a": 1}', r"holds keys a; expected a list"),
        ("7", r"holds 7; expected a list"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(content, message, tmp_path):
    path = tmp_path / "ResNet.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load(RESNET, "cifar10", path)


def test_a_sweep_of_training_settings_is_refused(tmp_path):
    other = copy.deepcopy(job("d1-1-1_w16-16-16"))
    other["optim"]["base_lr"] = 0.2
    with pytest.raises(
        DataError, match=r"d1-1-1_w16-16-16 was trained with learning rate 0\.2, .*network with .* 0\.1"
    ):
        load(RESNET, "cifar10", written(tmp_path, [job(), other]))


def test_the_last_epoch_of_a_training_cut_short_is_not_known(tmp_path):
    path = written(tmp_path, [{**job(), "test_ep_top1": [90.0, 6.42]}])
    assert load(RESNET, "cifar10", path).trials.tolist() == [[93.58]]
    with pytest.raises(DataError, match=r"ResNet\.json, d12-12-12_w24-24-40: test_ep_top1 has 2 of 3 epochs"):
        load(RESNET, "cifar10", path, which="last")


# --- real files -----------------------------------------------------------------------------------------------------


def test_the_real_reruns_are_a_hundred_trials_of_two_networks(real_file):
    """Standard deviations of the best-epoch error as published: .13 and .25 around 5.09 and 6.55."""
    path = real_file("nds/ResNet_reruns.json")
    truth = load(RESNET, "cifar10", path)
    assert [RESNET.format(a) for a in truth.architectures] == ["d2-3-3_w32-128-160", "d24-2-24_w24-32-32"]
    assert truth.trials.shape == (2, 100)
    assert truth.seeds == tuple(map(str, range(1, 101)))
    assert truth.epochs == 100
    np.testing.assert_allclose(100 - truth.mean, [5.09, 6.55], atol=0.005)
    np.testing.assert_allclose(truth.trials.std(axis=1), [0.13, 0.25], atol=0.01)
    assert (load(RESNET, "cifar10", path, which="last").trials <= truth.trials).all()
    for training in read_trainings(path, RESNET):
        assert training.parameters == RESNET.cost(training.architecture, RESNET.benchmark).parameters


def test_real_files_of_other_data_and_other_spaces_say_so(real_file):
    with pytest.raises(DataError, match=r"ResNeXt-A_in\.json, entry 0: the stem's stride is 8: a network for ImageNet"):
        load(RESNEXT_A, "cifar10", real_file("nds/ResNeXt-A_in.json"))
    with pytest.raises(DataError, match=r"DARTS_in\.json, entry 0: a network of cells .*: the file is of DARTS among"):
        load(RESNET, "cifar10", real_file("nds/DARTS_in.json"))
    with pytest.raises(DataError, match=r"block_type is 'res_basic_block'; those of Vanilla are"):
        load(VANILLA, "cifar10", real_file("nds/ResNet_reruns.json"))


@pytest.mark.parametrize(
    ("space", "name", "low", "high"),
    [(RESNET, "resnet_5k", 65.2, 95.2), (RESNEXT_A, "resnexta_5k", 10.0, 94.8)],
    ids=["resnet", "resnexta"],
)
def test_the_real_pools(space, name, low, high, real_file, monkeypatch):
    path = real_file(f"nds/{name}.csv.gz")
    truth = load(space, "cifar10", path)
    assert truth.trials.shape == (5000, 1)
    assert (round(truth.mean.min(), 1), round(truth.mean.max(), 1)) == (low, high)
    assert (truth.epochs, truth.split, truth.chance) == (100, "test", 10.0)
    assert "Ning et al. 2021" in truth.source
    monkeypatch.setenv("SUPERTAU_DATA", str(path.parents[1]))
    assert load(space, "cifar10").sha256 == truth.sha256
    with pytest.raises(DataError, match="a pool holds the accuracy of the best epoch only"):
        load(space, "cifar10", which="last")


# --- pools ----------------------------------------------------------------------------------------------------------

HEADER = "depths.0,depths.1,depths.2,widths.0,widths.1,widths.2,params,flops,test_acc"
ROW = "12,12,16,24,32,40,808234,216687514,93.9167"


def pool(folder, *rows, header=HEADER):
    path = folder / "resnet_5k.csv.gz"
    path.write_bytes(gzip.compress("\n".join((header, *rows)).encode()))
    return path


def test_a_pool_is_read(tmp_path):
    path = pool(tmp_path, ROW)
    assert is_pool(path)
    truth = read_pool(path, RESNET, "cifar10")
    assert (truth.architectures, truth.trials.tolist()) == ((RESNET.parse("d12-12-16_w24-32-40"),), [[93.9167]])
    assert truth.seeds == ("mean-of-three",)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([ROW], HEADER.replace("widths.1", "w1"), r"no column widths\.1\. The table has: depths\.0"),
        ([ROW, "1,2,3"], HEADER, r"line 3: 3 values, expected 9"),
        ([ROW.replace("32", "33")], HEADER, r"line 2: .*width 33 of stage 2"),
        ([ROW.replace("93.9167", "?")], HEADER, r"line 2: could not convert"),
        ([ROW.replace("93.9167", "nan")], HEADER, r"line 2: test_acc nan is not a percentage"),
        ([ROW.replace("808234", "808235")], HEADER, r"808,235 parameters, but d12-12-16_w24-32-40 .* 808,234"),
        ([ROW, ROW], HEADER, r"line 3: d12-12-16_w24-32-40 stands in the pool already"),
        ([], HEADER, r"an architecture has no accuracy, or there is none at all"),
    ],
)
def test_a_wrong_pool_names_the_line(rows, header, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load(RESNET, "cifar10", pool(tmp_path, *rows, header=header))


def test_a_pool_of_the_same_grids_is_told_by_its_parameters(tmp_path):
    with pytest.raises(DataError, match=r"of nds-vanilla has [0-9,]+; is it a pool of another space\?"):
        load(VANILLA, "cifar10", pool(tmp_path, ROW))


def test_a_truncated_pool(tmp_path):
    path = pool(tmp_path, ROW)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"cannot be read as CSV .*is the file complete"):
        load(RESNET, "cifar10", path)


# --- where ground truth is looked for -------------------------------------------------------------------------------


def test_three_seeds_come_before_one_and_both_before_the_pool(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERTAU_DATA", str(tmp_path))
    folder = tmp_path / "nds"
    folder.mkdir()
    pool(folder, ROW)
    assert "pool" in RESNET.truth("cifar10").source
    written(folder, [job()])
    assert RESNET.truth("cifar10").source.startswith("NDS ResNet.json")
    inside = folder / "nds_data"
    inside.mkdir()
    for seed in (1, 2):
        written(folder, [job(seed=seed)], f"ResNet_rng{seed}.json")
    assert RESNET.truth("cifar10").trials.shape == (1, 1)
    written(folder, [job(seed=3)], "ResNet_rng3.json")
    assert RESNET.truth("cifar10").seeds == ("1", "2", "3")
    written(inside, [job("d1-1-1_w16-16-16", space=VANILLA)], "Vanilla.json")
    assert len(VANILLA.truth("cifar10").architectures) == len(load(VANILLA, "cifar10", inside).architectures) == 1


def test_what_is_missing_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERTAU_DATA", str(tmp_path))
    fetch = r"'supertau data fetch nds' gets it; or download"
    download = rf"{fetch} https://dl\.fbaipublicfiles\.com/nds/data\.zip, unzip it, and put nds_data/"
    with pytest.raises(DataError, match=rf"in .*nds\. {download}ResNet\.json .*'micro' needs no download\.$"):
        RESNET.truth("cifar10")
    with pytest.raises(
        DataError, match=rf"{download}ResNeXt-B\.json into that folder, or give the path of the file\.$"
    ):
        RESNEXT_B.truth("cifar10")
    with pytest.raises(UnknownName, match=r"unknown data set 'imagenet'.*Available: cifar10, micro"):
        RESNET.truth("imagenet")
    with pytest.raises(UnknownName, match=r"Available: cifar10\."):
        VANILLA.truth("micro")
    with pytest.raises(DataError, match="no such file or folder"):
        RESNET.truth("cifar10", tmp_path / "absent.json")
    (tmp_path / "truth.txt").touch()
    with pytest.raises(DataError, match="not a kind of ground truth that can be read"):
        RESNET.truth("cifar10", tmp_path / "truth.txt")


def test_the_packaged_table(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.resources.files", lambda _package: tmp_path)
    with pytest.raises(
        DataError, match=r"nds-resnet-micro\.parquet: the ground truth 'micro' of nds-resnet comes with"
    ):
        RESNET.truth("micro")
    truth = read_official([written(tmp_path, [job()])], RESNET, "micro")
    write_table(truth, tmp_path / "tables" / "nds-resnet-micro.parquet", RESNET)
    assert RESNET.truth("micro").trials.tolist() == [[93.58]]


def test_a_table_of_any_data_set(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("architecture,accuracy\nd1-1-1_w16-16-16,80\nd1-1-1_w16-16-24,81\n")
    mine, cifar = (RESNET.truth(dataset, path) for dataset in ("my images", "cifar10"))
    assert (mine.dataset, mine.chance, cifar.chance) == ("my images", None, 10.0)
    assert mine.trials.tolist() == [[80], [81]]
    with pytest.raises(UnknownName, match="unknown data set of NDS files 'my images'"):
        RESNET.truth("my images", written(tmp_path, [job()]))


def test_what_there_is_can_be_asked_for_and_nothing_else(tmp_path):
    path = written(tmp_path, [job()])
    whole = RESNET.truth("CIFAR-10", path, split="test", epochs=RESNET.truth("cifar10", path).epochs)
    assert (whole.dataset, whole.split) == ("cifar10", "test")
    with pytest.raises(DataError, match=r"split 'test' after \d+ epochs only, not of split 'x-valid' and 12 epochs"):
        RESNET.truth("cifar10", path, split="x-valid", epochs=12)
    with pytest.raises(DataError, match="the table says its split is"):
        RESNET.truth("micro", split="x-valid")
