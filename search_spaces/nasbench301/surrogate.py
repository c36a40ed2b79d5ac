"""NAS-Bench-301's surrogate models, read without the package nasbench301: boosted trees over `features`.

An ensemble is a folder with one folder per member, at any depth, each with ``surrogate_model.model`` (a pickled Booster
of xgboost or lightgbm), ``model_config.json`` and ``data_config.json``. Its prediction is the mean of the members',
without the noise that the package adds by default.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import DataError, reason
from supertau.search_spaces.nasbench301.features import NAMES, features
from supertau.search_spaces.pickles import NUMPY_SCALARS, Allowed, load_restricted
from supertau.search_spaces.truth import Floats, GroundTruth, Surrogate

SPLIT = "val (surrogate)"
"""What the models predict: val_accuracy of the training logs, measured on the images left out of training."""
EPOCHS = 100

MODEL = "surrogate_model"
_SUFFIXES = (".ubj", ".json", ".model")
"""Of a member's model, the preferred first: xgboost's own formats, which every version reads, then the pickle."""
_CONFIGS = ("model_config.json", "data_config.json")
_INSTALL = "pip install 'supertau[nb301]'"
_AGAIN = "Unpack the surrogate models again."

Predict = Callable[[Floats], Floats]
"""From features (N, 56) to accuracies (N,) in percent."""


# --- the folder -----------------------------------------------------------------------------------------------------


def member_files(folder: Path) -> tuple[Path, ...]:
    """Return the model file of each member below a folder, in the order of their paths; none is an empty tuple."""
    by_member: dict[Path, Path] = {}
    for suffix in _SUFFIXES:
        for file in folder.rglob(MODEL + suffix):
            by_member.setdefault(file.parent, file)
    # What rglob yields comes in the order of the file system, which differs between machines.
    return tuple(by_member[parent] for parent in sorted(by_member, key=lambda parent: parent.relative_to(folder).parts))


@dataclass(frozen=True)
class Ensemble:
    """The members of a surrogate: model files in order, and their kind, 'xgb' or 'lgb'."""

    folder: Path
    kind: str
    files: tuple[Path, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members: their folders, relative to that of the ensemble."""
        return tuple(file.parent.relative_to(self.folder).as_posix() for file in self.files)

    @property
    def source(self) -> str:
        """What made the predictions: the folder's own name, kind and number of members."""
        return f"NAS-Bench-301 surrogate {self.folder.name} ({self.kind}, {len(self.files)} members)"

    def digest(self) -> str:
        """Return the sha256 over the sha256 of each model file, in the order of the members."""
        whole = hashlib.sha256()
        for file in self.files:
            whole.update(hashlib.sha256(content_of(file)).digest())
        return whole.hexdigest()


def open_ensemble(folder: Path) -> Ensemble:
    """Return the ensemble in a folder.

    Raises DataError when there is no member, when a member's settings are missing, when members differ in kind, and
    for a kind that is not boosted trees that predict the accuracy.
    """
    folder = Path(os.path.abspath(Path(folder).expanduser()))  # has a name even where the folder is given as "."
    files = member_files(folder) if folder.is_dir() else ()
    if not files:
        raise DataError(
            f"{folder}: no member of a surrogate in it; looked for '{MODEL}{_SUFFIXES[-1]}' (or "
            f"{' or '.join(_SUFFIXES[:-1])}) at any depth, with {' and '.join(_CONFIGS)} beside each."
        )
    kinds: dict[str, str] = {}
    for file in files:
        kinds.setdefault(_kind(file.parent), file.parent.relative_to(folder).as_posix())
    if len(kinds) > 1:
        examples = ", ".join(f"{kind} (such as {member})" for kind, member in sorted(kinds.items()))
        raise DataError(f"{folder}: holds members of different kinds: {examples}; give the folder of one kind.")
    (kind,) = kinds
    if kind.endswith("_time"):
        raise DataError(
            f"{folder}: its members are of kind '{kind}', which predicts how long a training takes, not its accuracy; "
            "give the folder of an accuracy model, such as xgb_v1.0."
        )
    if kind.startswith("gnn"):
        raise DataError(
            f"{folder}: its members are of kind '{kind}', graph neural networks, which are not read here; boosted "
            "trees are: give the folder of those, such as xgb_v1.0."
        )
    if kind not in _READERS:
        raise DataError(f"{folder}: unknown kind of model '{kind}'; those that are read: {', '.join(_READERS)}.")
    return Ensemble(folder, kind, files)


def _kind(member: Path) -> str:
    settings = {name: _json(member / name) for name in _CONFIGS}
    kind = settings["model_config.json"].get("model")
    if not isinstance(kind, str):
        raise DataError(f'{member / "model_config.json"}: says no kind of model; expected "model": "xgb" or so.')
    return kind


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: missing; {' and '.join(_CONFIGS)} belong beside each model. {_AGAIN}")
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({type(error).__name__}: {reason(error)}). {_AGAIN}"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a JSON object. {_AGAIN}")
    return content


def content_of(path: Path) -> bytes:
    """Return the bytes of a file; raise DataError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


# --- pickled models -------------------------------------------------------------------------------------------------


class _State:
    """Stands in for a Booster: keeps the state that the class would restore itself from."""

    state: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a model whose state is not a dictionary")
        self.state = state


class _XGBState(_State):
    pass


class _LGBState(_State):
    pass


def _bytearray(content: bytes | str, encoding: str = "latin-1") -> bytearray:
    """Stand in for bytearray, which would allocate as much memory as a number in the file says."""
    return bytearray(content.encode(encoding) if isinstance(content, str) else bytes(memoryview(content)))


_BOOSTERS: Allowed = {
    **NUMPY_SCALARS,
    ("xgboost.core", "Booster"): _XGBState,
    ("lightgbm.basic", "Booster"): _LGBState,
    ("builtins", "bytearray"): _bytearray,
    ("__builtin__", "bytearray"): _bytearray,
    ("collections", "defaultdict"): defaultdict,
}
"""What occurs in the pickle of a Booster, checked with xgboost 1.7 and 3.0 and with lightgbm 3.3 and 4.7."""


def pickled_state(file: Path, content: bytes, kind: str, *, trust_pickle: bool = False) -> dict[str, Any]:
    """Return the state of a pickled Booster of a kind, 'xgb' or 'lgb'; raise DataError on anything else.

    trust_pickle: where names outside the allow-list occur, read without restriction.
    """
    expected = f"a pickled Booster of {_LIBRARIES[kind]}"
    try:
        booster = load_restricted(content, name=str(file), allowed=_BOOSTERS, expected=expected)
    except DataError:
        if not trust_pickle:
            raise
        booster = load_restricted(content, name=str(file), expected=expected, trust_pickle=True)
    if isinstance(booster, _XGBState | _LGBState):
        library = _LIBRARIES["xgb" if isinstance(booster, _XGBState) else "lgb"]
        state = getattr(booster, "state", {})
    else:
        library = type(booster).__module__.partition(".")[0]
        state = booster.__getstate__() if type(booster).__name__ == "Booster" else {}
    if library != _LIBRARIES[kind] or not state:
        raise DataError(f"{file}: holds no {expected[2:]}, although its model_config.json says '{kind}'.")
    return dict(state)


# --- one member -----------------------------------------------------------------------------------------------------


def _xgb(file: Path, content: bytes, *, trust_pickle: bool) -> Predict:
    xgboost = _library("xgb", file)
    try:
        if content[:1] == b"{":  # JSON or UBJ
            booster = xgboost.Booster(model_file=bytearray(content))
        else:
            handle = pickled_state(file, content, "xgb", trust_pickle=trust_pickle).get("handle")
            if not isinstance(handle, bytearray):
                raise DataError(f"{file}: the pickled Booster holds no model. {_AGAIN}")
            booster = xgboost.Booster.__new__(xgboost.Booster)
            booster.__setstate__({"handle": handle})
        _check_width(file, booster.num_features())
    except xgboost.core.XGBoostError as error:
        if "Invalid serialization file" in str(error):
            raise DataError(
                f"{file}: xgboost {xgboost.__version__} cannot read the pickle of an old version ('Invalid "
                "serialization file'); the published models were written by version 1.1. Versions before 3.1 can: "
                "pip install 'xgboost<3.1'"
            ) from error
        raise _damaged(file, "xgboost", error) from error

    def predict(rows: Floats) -> Floats:
        # Old versions wrote names of the features, f0 to f55, into the model.
        return np.asarray(booster.predict(xgboost.DMatrix(rows), validate_features=False), dtype=np.float64)

    return predict


def _lgb(file: Path, content: bytes, *, trust_pickle: bool) -> Predict:
    lightgbm = _library("lgb", file)
    state = pickled_state(file, content, "lgb", trust_pickle=trust_pickle)
    text = state.get("_handle", state.get("handle"))  # version 4, version 3
    if not isinstance(text, str):
        raise DataError(f"{file}: the pickled Booster holds no model. {_AGAIN}")
    try:
        booster = lightgbm.Booster(model_str=text)
        _check_width(file, booster.num_feature())
    except lightgbm.basic.LightGBMError as error:
        raise _damaged(file, "lightgbm", error) from error
    # Early stopping leaves trees that the Booster itself does not use; their number is not in the model's text.
    best = int(state.get("best_iteration") or 0)

    def predict(rows: Floats) -> Floats:
        return np.asarray(booster.predict(rows, num_iteration=best if best > 0 else -1), dtype=np.float64)

    return predict


_LIBRARIES = {"xgb": "xgboost", "lgb": "lightgbm"}
_READERS = {"xgb": _xgb, "lgb": _lgb}


def _library(kind: str, file: Path) -> Any:
    try:  # both are optional
        if kind == "xgb":
            import xgboost

            return xgboost
        import lightgbm

        return lightgbm
    except ImportError as error:
        name = _LIBRARIES[kind]
        raise DataError(f"{file}: reading it needs {name}, which is not there ({error}): {_INSTALL}") from error


def _check_width(file: Path, width: int) -> None:
    if width != len(NAMES):
        raise DataError(f"{file}: a model of {width} features; those of NAS-Bench-301 have {len(NAMES)}.")


def _damaged(file: Path, library: str, error: Exception) -> DataError:
    why = (str(error).strip().splitlines() or [""])[0][:200]
    return DataError(f"{file}: {library} cannot read the model ({why}). It is truncated or damaged. {_AGAIN}")


# --- the surrogate --------------------------------------------------------------------------------------------------


class EnsembleSurrogate(Surrogate):
    """Ground truth predicted by an ensemble."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.sha256 = ensemble.digest()

    @abstractmethod
    def predict(self, architectures: Sequence[Architecture]) -> Floats:
        """Return the mean of the members' predictions, without noise, shape (N,), percent."""

    def table(self, architectures: Sequence[Architecture]) -> GroundTruth:
        """Return the predictions for distinct architectures, one trial named 'surrogate'; sha256: of the models."""
        return GroundTruth(
            space="nasbench301",
            dataset="cifar10",
            split=SPLIT,
            epochs=EPOCHS,
            source=self.ensemble.source,
            sha256=self.sha256,
            architectures=tuple(architectures),
            trials=self.predict(architectures).reshape(-1, 1),
            seeds=("surrogate",),
        )


class OwnSurrogate(EnsembleSurrogate):
    """The surrogate in a folder, read without the package nasbench301: xgboost or lightgbm is all it needs.

    trust_pickle: read members whose pickle uses names outside the allow-list. Raises DataError as `open_ensemble` does,
    and on a member that is damaged or that the installed xgboost or lightgbm cannot read.
    """

    def __init__(self, folder: Path, *, trust_pickle: bool = False) -> None:
        super().__init__(open_ensemble(folder))
        read = _READERS[self.ensemble.kind]
        self._predictors = [read(file, content_of(file), trust_pickle=trust_pickle) for file in self.ensemble.files]

    def predict_members(self, architectures: Sequence[Architecture]) -> Floats:
        """Return the prediction of each of the M members, shape (M, N), percent."""
        if not architectures:
            return np.empty((len(self._predictors), 0))
        rows = features(architectures)
        return np.stack([predict(rows) for predict in self._predictors])

    def predict(self, architectures: Sequence[Architecture]) -> Floats:
        """Return the mean of the members' predictions, without noise, shape (N,), percent."""
        return np.asarray(self.predict_members(architectures).mean(axis=0))
