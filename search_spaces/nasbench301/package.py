"""NAS-Bench-301's surrogate models through their own package, nasbench301 0.3: to check our reader against.

The package asks for more than the models do. What only its graph networks, plots and downloads need is replaced by
empty modules while it is imported, where it is not installed. Apart from that the package is left as it is, but for the
reading of its configuration space: ConfigSpace 0.6 and 0.7 want fields that the package's file does not have.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import DataError, unknown
from supertau.search_spaces.nasbench301.features import configuration
from supertau.search_spaces.nasbench301.genotype import INPUTS, NODES, OPERATIONS, decoded
from supertau.search_spaces.nasbench301.surrogate import (
    MODEL,
    EnsembleSurrogate,
    content_of,
    open_ensemble,
    pickled_state,
)
from supertau.search_spaces.truth import Floats

REPRESENTATIONS = ("genotype", "configspace")

_NEEDED = {
    "ConfigSpace": "'ConfigSpace==0.7.1'",
    "matplotlib": "matplotlib",
    "nasbench301": "nasbench301==0.3",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
}
"""Modules that queries use, with what to install."""
_BOOSTERS = {"xgb": ("xgboost", "'xgboost<3.1'"), "lgb": ("lightgbm", "lightgbm")}
_BOOSTER_MODULES = tuple(module for module, _ in _BOOSTERS.values())
_GRAPHS = ("torch_geometric", "torch_scatter", "torch_cluster", "h5py", "networkx")
"""What the package's graph networks need; it imports them for every kind of model."""
_GRAPH_MODULES = {
    "nasbench301.surrogate_models.gnn.gnn": ("GNNSurrogateModel",),
    "nasbench301.surrogate_models.bananas.bananas": ("BANANASModel",),
}
_UNUSED = {
    "IPython": ("embed",),
    "pathvalidate": ("sanitize_filename",),
    "requests": (),
    "seaborn": ("set_style",),
    "tqdm": ("tqdm",),
}
"""Modules that the package imports and that queries do not use, with the names it takes from them."""


def missing(kind: str) -> dict[str, str]:
    """Return what the package needs for a kind of model, 'xgb' or 'lgb', and is missing: module to what to install.

    ConfigSpace counts as missing from version 1 on, which lacks the interface that the package uses.
    """
    needed = {**_NEEDED, **dict([_BOOSTERS[kind]])}
    lacking = {module: install for module, install in needed.items() if not _is_there(module)}
    if "ConfigSpace" not in lacking and int(importlib.metadata.version("ConfigSpace").partition(".")[0]) >= 1:
        lacking["ConfigSpace < 1"] = needed["ConfigSpace"]
    return lacking


def _is_there(module: str) -> bool:
    return module in sys.modules or importlib.util.find_spec(module) is not None


class PackageSurrogate(EnsembleSurrogate):
    """The surrogate in a folder, read and queried by the package nasbench301; a tenth of a second per architecture.

    representation: the form in which the package gets an architecture, one of REPRESENTATIONS. The package reads
    pickles without restriction; unless trust_pickle, the restricted reader has to accept them first. Raises DataError
    as `open_ensemble` does, on a member that is no pickle, and where the package or something it needs is missing.
    """

    def __init__(self, folder: Path, *, representation: str = "genotype", trust_pickle: bool = False) -> None:
        if representation not in REPRESENTATIONS:
            raise unknown("representation", representation, REPRESENTATIONS)
        ensemble = open_ensemble(folder)
        ensemble = replace(ensemble, files=tuple(file.with_name(f"{MODEL}.model") for file in ensemble.files))
        for file in ensemble.files:
            if not file.is_file():
                raise DataError(f"{file}: missing; the package nasbench301 reads pickled models only.")
            if not trust_pickle:
                pickled_state(file, content_of(file), ensemble.kind)
        super().__init__(ensemble)
        self.representation = representation
        kind = ensemble.kind
        package = _package(kind)
        with unchanged_global_state(), _readable_space():
            try:
                self._api = package.load_ensemble(str(self.ensemble.folder))
            except Exception as error:  # whatever a damaged model makes the package and its libraries raise
                raise DataError(
                    f"{self.ensemble.folder}: the package nasbench301 cannot load it ({_reason(error)}); versions of "
                    "xgboost before 3.1 read the published models: pip install 'xgboost<3.1'"
                ) from error

    def predict(self, architectures: Sequence[Architecture]) -> Floats:
        """Return the mean of the members' predictions, without noise, shape (N,), percent."""
        form = _genotype if self.representation == "genotype" else configuration
        with unchanged_global_state():
            values = [
                self._api.predict(config=form(architecture), representation=self.representation, with_noise=False)
                for architecture in architectures
            ]
        return np.array(values, dtype=np.float64)


def _genotype(architecture: Architecture) -> Any:
    from nasbench301.representations import Genotype  # optional, and what it needs may be missing

    output = list(range(INPUTS, INPUTS + NODES))
    normal, reduce = (
        [(OPERATIONS[option], source) for node in cell for source, option in node] for cell in decoded(architecture)
    )
    return Genotype(normal=normal, normal_concat=output, reduce=reduce, reduce_concat=output)


@contextmanager
def unchanged_global_state() -> Iterator[None]:
    """Restore what the package sets on the way: random states of Python, numpy and torch, and torch's cuDNN flags."""
    import torch  # the package needs it; commands that do not query the package should not import it

    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 - the package seeds it
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.enabled
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002
        torch.backends.cudnn.benchmark, torch.backends.cudnn.enabled = flags


# --- the import -----------------------------------------------------------------------------------------------------


def _package(kind: str) -> ModuleType:
    """Return the imported package; raise DataError that names what is missing for a kind of model."""
    lacking = missing(kind)
    if lacking:
        raise DataError(
            f"the package nasbench301 cannot be used, for it needs {', '.join(sorted(lacking))}: "
            f"pip install {' '.join(sorted(lacking.values()))} 'numpy<2'. The suite's own reader needs only "
            f"{_BOOSTERS[kind][0]} and gives the same predictions."
        )
    try:
        import matplotlib as mpl  # the package needs it; slow to import

        # A style sheet is set on import; matplotlib's figures elsewhere keep theirs.
        with unchanged_global_state(), mpl.rc_context():
            # Real modules come first: they look for one another, and must not find an empty one.
            for name in ("matplotlib.pyplot", *_NEEDED, *_BOOSTER_MODULES, *_GRAPHS, *_UNUSED):
                if name != "nasbench301" and _is_there(name):
                    importlib.import_module(name)
            with _empty_modules():
                return importlib.import_module("nasbench301")
    except Exception as error:  # a library built for another version of numpy fails in many ways
        for name in [name for name in sys.modules if name.partition(".")[0] == "nasbench301"]:
            del sys.modules[name]
        raise DataError(
            f"the package nasbench301 cannot be imported ({_reason(error)}). A set of versions that works: "
            "numpy 1.26.4, ConfigSpace 0.7.1, xgboost 1.7.6, lightgbm 3.3.5. The suite's own reader needs only "
            f"{_BOOSTERS[kind][0]} and gives the same predictions."
        ) from error


@contextmanager
def _empty_modules() -> Iterator[None]:
    """Let modules that are not installed, and that queries do not use, be imported."""
    wanted: dict[str, tuple[str, ...]] = {**_UNUSED, **dict.fromkeys(_BOOSTER_MODULES, ())}
    empty = {name: names for name, names in wanted.items() if not _is_there(name)}
    if not all(map(_is_there, _GRAPHS)):
        empty |= {name: names for name, names in _GRAPH_MODULES.items() if name not in sys.modules}
    for name, names in empty.items():
        module = ModuleType(name)
        for attribute in names:
            setattr(module, attribute, _nothing if attribute == "set_style" else _refusal(f"{name}.{attribute}"))
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in empty:
            sys.modules.pop(name, None)


def _nothing(*_: object, **__: object) -> None:
    pass


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> Any:
        raise DataError(f"{name} was not installed when nasbench301 was imported.")

    return refuse


@contextmanager
def _readable_space() -> Iterator[None]:
    """Give ConfigSpace 0.6 and 0.7 the fields they expect in the package's configspace.json."""
    from nasbench301.surrogate_models import utils  # optional, as in `_genotype`

    reader = utils.config_space_json_r_w

    def read(text: str) -> Any:
        space = json.loads(text)
        for hyperparameter in space["hyperparameters"]:
            for field in ("q", "lower", "upper"):
                hyperparameter.setdefault(field, None)
        return reader.read(json.dumps(space))

    utils.config_space_json_r_w = SimpleNamespace(read=read)
    try:
        yield
    finally:
        utils.config_space_json_r_w = reader


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
