"""Ensembles in the official layout: our reader against the boosters themselves, and against the package nasbench301."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from supertau.search_spaces.errors import DataError, UnknownName
from supertau.search_spaces.nasbench301 import package
from supertau.search_spaces.nasbench301.features import features
from supertau.search_spaces.nasbench301.package import REPRESENTATIONS, PackageSurrogate
from supertau.search_spaces.nasbench301.space import DARTS
from supertau.search_spaces.nasbench301.surrogate import OwnSurrogate, member_files

xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed: pip install 'supertau[nb301]'")
lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed: pip install 'supertau[nb301]'")

SPACE = DARTS()
MEMBERS = ("1/xgb/b-6", "0/xgb/a-5", "10/xgb/c-7")
"""In the order in which they are written; in that of their paths 0, 1, 10."""
_RNG = np.random.default_rng(0)
KNOWN = [SPACE.sample(_RNG) for _ in range(120)]
ASKED = [SPACE.sample(_RNG) for _ in range(15)]
_INPUT = features(KNOWN)
_TARGET = 92 + _INPUT @ _RNG.normal(size=56) / 10


def xgb(seed: int) -> Any:
    settings = {"max_depth": 4, "seed": seed, "subsample": 0.6, "colsample_bytree": 0.5, "nthread": 1}
    return xgboost.train(settings, xgboost.DMatrix(_INPUT, label=_TARGET), 15)


def lgb(seed: int) -> Any:
    settings = {"num_leaves": 7, "seed": seed, "feature_fraction": 0.3, "verbose": -1, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(_INPUT, label=_TARGET), 15)


def write(member: Path, model: Any, kind: str, protocol: int = 3) -> Path:
    member.mkdir(parents=True, exist_ok=True)
    (member / "model_config.json").write_text(json.dumps({"model": kind, "param:bananas_enc": False}))
    (member / "data_config.json").write_text(json.dumps({"seed": 6}))
    file = member / "surrogate_model.model"
    file.write_bytes(model if isinstance(model, bytes) else pickle.dumps(model, protocol))
    return file


def asked(model: Any) -> np.ndarray[Any, Any]:
    rows = features(ASKED)
    return np.asarray(model.predict(xgboost.DMatrix(rows) if isinstance(model, xgboost.Booster) else rows))


@pytest.fixture(scope="module")
def boosters() -> dict[str, Any]:
    return {member: xgb(seed) for seed, member in enumerate(MEMBERS)}


@pytest.fixture
def folder(tmp_path: Path, boosters: dict[str, Any]) -> Path:
    for member, booster in boosters.items():
        write(tmp_path / "xgb_v1.0" / member, booster, "xgb")
    return tmp_path / "xgb_v1.0"


@pytest.fixture
def states() -> Iterator[None]:
    """Hold the test to leaving global random states alone."""
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    torch.backends.cudnn.benchmark = False
    yield
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    assert not torch.backends.cudnn.benchmark


@pytest.mark.usefixtures("states")
def test_the_mean_of_the_members_without_noise(folder: Path, boosters: dict[str, Any]) -> None:
    surrogate = OwnSurrogate(folder)
    direct = [asked(boosters[member]) for member in sorted(MEMBERS)]
    assert np.std(direct, axis=0).min() > 0  # which is the size of the noise that the package adds by default
    np.testing.assert_array_equal(surrogate.predict_members(ASKED), direct)
    np.testing.assert_allclose(surrogate.predict(ASKED), np.mean(direct, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(surrogate.predict(ASKED), surrogate.predict(ASKED))
    assert surrogate.predict([]).shape == (0,)


def test_members_in_the_order_of_their_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, digest = OwnSurrogate(folder).ensemble.members, OwnSurrogate(folder).sha256
    assert one == ("0/xgb/a-5", "1/xgb/b-6", "10/xgb/c-7")
    real = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: sorted(real(self, pattern), reverse=True))
    assert OwnSurrogate(folder).ensemble.members == one
    assert OwnSurrogate(folder).sha256 == digest


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_lightgbm_uses_the_trees_of_its_best_iteration(tmp_path: Path, protocol: int) -> None:
    models = [lgb(seed) for seed in range(2)]
    whole = [asked(model) for model in models]
    for number, model in enumerate(models):
        model.best_iteration = 4
        write(tmp_path / str(number), model, "lgb", protocol)
    best = [asked(model) for model in models]
    assert np.abs(np.subtract(best, whole)).min() > 1e-6
    np.testing.assert_allclose(OwnSurrogate(tmp_path).predict(ASKED), np.mean(best, axis=0), rtol=1e-12)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_xgboost_pickles_of_any_protocol(tmp_path: Path, boosters: dict[str, Any], protocol: int) -> None:
    booster = boosters[MEMBERS[0]]
    write(tmp_path / "a", booster, "xgb", protocol)
    np.testing.assert_array_equal(OwnSurrogate(tmp_path).predict(ASKED), asked(booster))


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_saved_models_take_the_place_of_pickles(folder: Path, boosters: dict[str, Any], suffix: str) -> None:
    before = OwnSurrogate(folder)
    for member, booster in boosters.items():
        booster.save_model(folder / member / f"surrogate_model.{suffix}")
        (folder / member / "surrogate_model.model").write_bytes(b"not to be read")
    after = OwnSurrogate(folder)
    assert {file.suffix for file in after.ensemble.files} == {f".{suffix}"}
    assert after.ensemble.members == before.ensemble.members
    np.testing.assert_array_equal(after.predict(ASKED), before.predict(ASKED))


def test_table_and_provenance(folder: Path, tmp_path: Path) -> None:
    surrogate = OwnSurrogate(folder)
    table = surrogate.table(ASKED)
    assert table.architectures == tuple(ASKED)
    np.testing.assert_array_equal(table.mean, surrogate.predict(ASKED))
    about = table.describe()
    assert about["source"] == "NAS-Bench-301 surrogate xgb_v1.0 (xgb, 3 members)"
    assert (about["space"], about["dataset"], about["split"]) == (SPACE.name, "cifar10", "val (surrogate)")
    assert (about["epochs"], about["seeds"]) == (100, ["surrogate"])
    shutil.copytree(folder, tmp_path / "copy")
    assert OwnSurrogate(tmp_path / "copy").sha256 == about["sha256"]
    write(tmp_path / "copy" / MEMBERS[1], xgb(9), "xgb")
    assert OwnSurrogate(tmp_path / "copy").sha256 != about["sha256"]


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("xgb_time", "how long a training takes"),
        ("lgb_time", "how long a training takes"),
        ("gnn_gin", "graph neural networks, which are not read here"),
        ("svr", "unknown kind of model 'svr'; those that are read: xgb, lgb"),
        ("lgb", "holds no pickled Booster of lightgbm, although its model_config.json says 'lgb'"),
        (None, "says no kind of model"),
    ],
)
def test_other_kinds(folder: Path, kind: str | None, message: str) -> None:
    for file in member_files(folder):
        (file.parent / "model_config.json").write_text(json.dumps({"model": kind}))
    with pytest.raises(DataError, match=message):
        OwnSurrogate(folder)


def test_folders_that_are_no_ensemble(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(DataError, match=rf"{path.name}: no member .*'surrogate_model\.model'.*model_config\.json"):
            OwnSurrogate(path)
    write(tmp_path / "lgb_runtime_v1.0" / "0", b"", "lgb_time")
    with pytest.raises(DataError, match=r"different kinds: lgb_time .*lgb_runtime_v1\.0/0\), xgb .*xgb_v1\.0/0/xgb"):
        OwnSurrogate(tmp_path)
    (folder / MEMBERS[0] / "data_config.json").unlink()
    with pytest.raises(DataError, match=r"b-6.data_config\.json: missing; model_config\.json and data_config\.json"):
        OwnSurrogate(folder)
    (folder / MEMBERS[0] / "data_config.json").write_text("{")
    with pytest.raises(DataError, match=r"b-6.data_config\.json: cannot be read as JSON"):
        OwnSurrogate(folder)


def test_damaged_members(folder: Path) -> None:
    file = folder / MEMBERS[0] / "surrogate_model.model"
    whole = file.read_bytes()
    stateless = b"\x80\x02cxgboost.core\nBooster\n)\x81"
    for content in (
        whole[:-500],
        b"",
        b"noise",
        pickle.dumps([1]),
        b'{"learner": 1',
        stateless + b".",
        stateless + b"}X\x06\x00\x00\x00handleNsb.",
        stateless + b"Nb.",
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"b-6.surrogate_model\.model: "):
            OwnSurrogate(folder)
    narrow = xgboost.train({}, xgboost.DMatrix(_INPUT[:, :5], label=_TARGET), 1)
    write(file.parent, narrow, "xgb")
    with pytest.raises(DataError, match="a model of 5 features; those of NAS-Bench-301 have 56"):
        OwnSurrogate(folder)


class _Harmful:
    def __init__(self, target: Path, model: Any) -> None:
        self.target, self.model = str(target), model

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


def test_a_harmful_pickle(folder: Path, tmp_path: Path, boosters: dict[str, Any]) -> None:
    target = tmp_path / "made"
    booster = pickle.loads(pickle.dumps(boosters[MEMBERS[0]]))
    before = OwnSurrogate(folder).predict(ASKED)
    booster.extra = _Harmful(target, None)
    write(folder / MEMBERS[0], booster, "xgb")
    with pytest.raises(DataError, match=r"refused to load '\w+\.mkdir'.*--trust-pickle"):
        OwnSurrogate(folder)
    assert not target.exists()
    np.testing.assert_array_equal(OwnSurrogate(folder, trust_pickle=True).predict(ASKED), before)
    assert target.exists()


def test_versions_that_do_not_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, state: dict[str, Any]) -> None:
        raise xgboost.core.XGBoostError(
            "[..] learner.cc: Check failed: header == serialisation_header_\nInvalid serialization file."
        )

    monkeypatch.setattr(xgboost.Booster, "__setstate__", refuse)
    with pytest.raises(DataError, match=r"cannot read the pickle of an old version.*pip install 'xgboost<3\.1'"):
        OwnSurrogate(folder)
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(DataError, match=r"needs xgboost.*pip install 'supertau\[nb301\]'"):
        OwnSurrogate(folder)


# --- the package ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["xgb", "lgb"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    lacking = package.missing(request.param)
    if lacking:
        pytest.skip(f"the package nasbench301 needs {', '.join(lacking)}")
    train = xgb if request.param == "xgb" else lgb
    for number in range(3):
        write(tmp_path / str(number), train(number), request.param)
    return tmp_path


@pytest.mark.usefixtures("states")
def test_both_readers_agree(both: Path) -> None:
    own = OwnSurrogate(both)
    for representation in REPRESENTATIONS:
        theirs = PackageSurrogate(both, representation=representation)
        # The package takes the mean of xgboost's predictions in single precision.
        np.testing.assert_allclose(theirs.predict(ASKED), own.predict(ASKED), rtol=0, atol=2e-5)
    assert theirs.table(ASKED).describe() == own.table(ASKED).describe()
    empty = (*package._UNUSED, *package._GRAPH_MODULES)
    assert all(hasattr(sys.modules[name], "__file__") for name in empty if name in sys.modules)


def test_the_package_is_not_handed_a_harmful_pickle(folder: Path, tmp_path: Path) -> None:
    write(folder / MEMBERS[0], _Harmful(tmp_path / "made", None), "xgb")
    with pytest.raises(DataError, match=r"refused to load '\w+\.mkdir'"):
        PackageSurrogate(folder)
    assert not (tmp_path / "made").exists()


def test_what_the_package_lacks_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = package._is_there
    monkeypatch.setattr(package, "_is_there", lambda name: name not in ("ConfigSpace", "xgboost") and real(name))
    with pytest.raises(
        DataError, match=r"needs ConfigSpace, xgboost: pip install 'ConfigSpace==0\.7\.1' 'xgboost<3\.1'"
    ):
        PackageSurrogate(folder)
    with pytest.raises(UnknownName, match="representation 'BANANAS'"):
        PackageSurrogate(folder, representation="BANANAS")
    monkeypatch.undo()
    (folder / MEMBERS[0] / "surrogate_model.model").rename(folder / MEMBERS[0] / "surrogate_model.ubj")
    with pytest.raises(DataError, match="reads pickled models only"):
        PackageSurrogate(folder)


def test_empty_modules_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "_is_there", lambda name: name not in ("seaborn", "torch_geometric"))
    monkeypatch.delitem(sys.modules, "seaborn", raising=False)
    graphs = "nasbench301.surrogate_models.gnn.gnn"
    monkeypatch.delitem(sys.modules, graphs, raising=False)
    with package._empty_modules():
        sys.modules["seaborn"].set_style("whitegrid")
        with pytest.raises(DataError, match="GNNSurrogateModel was not installed"):
            sys.modules[graphs].GNNSurrogateModel()
    assert "seaborn" not in sys.modules
    assert graphs not in sys.modules
